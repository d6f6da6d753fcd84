"""What a certificate says, read without any TLS library: RFC 5280, the few parts that this program looks at.

Nothing is verified here: that is the work of whoever made the connection. Trees without OpenSSL read their own certificate's
dates with this, and a server reads who a caller is out of a certificate that has been verified.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tvix.errors import EX_DATAERR, TvixError

_SEQUENCE, _INTEGER, _BIT_STRING, _OCTET_STRING, _OID = 0x30, 0x02, 0x03, 0x04, 0x06
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_SAN_DNS, _SAN_URI, _SAN_IP = 0x82, 0x86, 0x87
_FIRST = 0x80
_KEY_IDENTIFIER = bytes.fromhex("551d0e")
_SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("551d11")
_ISSUER_KEY_IDENTIFIER = bytes.fromhex("551d23")
_BEGIN, _END = b"-----BEGIN ", b"-----END "


class MalformedCertificate(TvixError):
    """Bytes that should be a certificate and aren't."""

    identifier = "tls.malformed-certificate"
    message = "{what} is not a certificate: {reason}"
    exit_code = EX_DATAERR


class Certificate(NamedTuple):
    """Times are seconds since 1970; `issuer` and `subject` are encoded names, `key` is the encoded public key."""

    not_before: int
    not_after: int
    issuer: bytes
    subject: bytes
    key: bytes
    uris: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    """DNS names and IP addresses."""
    key_identifier: bytes = b""
    issuer_key_identifier: bytes = b""

    def is_from(self, issuer: Certificate) -> bool:
        """Whether it names that issuer; whether that is true, a signature says."""
        identifiers = self.issuer_key_identifier, issuer.key_identifier
        return self.issuer == issuer.subject and (not all(identifiers) or identifiers[0] == identifiers[1])


def parse_certificate(der: bytes, what: str = "it") -> Certificate:
    """Raises `MalformedCertificate`, which calls the bytes `what`."""
    try:
        return _parse(der)
    except (ValueError, IndexError, StopIteration) as error:
        raise MalformedCertificate(what=what, reason=str(error) or "it ends early") from None


def pem_blocks(text: bytes, label: bytes) -> list[bytes]:
    """The contents of the blocks with this label, such as CERTIFICATE, decoded. Raises ValueError where they aren't base 64."""
    from binascii import a2b_base64

    found = []
    lines: list[bytes] | None = None
    for line in map(bytes.strip, text.splitlines()):
        if line == _BEGIN + label + b"-----":
            lines = []
        elif lines is not None and line.startswith(_END):
            found.append(a2b_base64(b"".join(lines), strict_mode=True))
            lines = None
        elif lines is not None:
            lines.append(line)
    if lines is not None:
        raise ValueError("the block has no end")
    return found


def _parse(der: bytes) -> Certificate:
    outer = _only(der, _SEQUENCE)
    parts = _values(_expect(*next(_values(outer)), _SEQUENCE))
    tag, value = next(parts)
    if tag == _VERSION:
        tag, value = next(parts)
    _expect(tag, value, _INTEGER)
    _expect(*next(parts), _SEQUENCE)  # the algorithm of the signature
    issuer = _expect(*next(parts), _SEQUENCE)
    dates = _values(_expect(*next(parts), _SEQUENCE))
    not_before, not_after = _time(*next(dates)), _time(*next(dates))
    subject = _expect(*next(parts), _SEQUENCE)
    key = _expect(*next(parts), _SEQUENCE)
    extensions: dict[bytes, bytes] = {}
    for tag, value in parts:
        if tag == _EXTENSIONS:
            for extension_tag, extension in _values(_only(value, _SEQUENCE)):
                fields = list(_values(_expect(extension_tag, extension, _SEQUENCE)))
                extensions[_expect(*fields[0], _OID)] = _expect(*fields[-1], _OCTET_STRING)
    uris, hosts = _alternative_names(extensions.get(_SUBJECT_ALTERNATIVE_NAME, b""))
    own_key, issuer_key = extensions.get(_KEY_IDENTIFIER, b""), extensions.get(_ISSUER_KEY_IDENTIFIER, b"")
    return Certificate(
        not_before,
        not_after,
        issuer,
        subject,
        key,
        uris,
        hosts,
        _only(own_key, _OCTET_STRING) if own_key else b"",
        dict(_values(_only(issuer_key, _SEQUENCE))).get(_FIRST, b"") if issuer_key else b"",
    )


def _alternative_names(extension: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    uris: list[str] = []
    hosts: list[str] = []
    for tag, value in _values(_only(extension, _SEQUENCE)) if extension else ():
        if tag == _SAN_URI:
            uris.append(value.decode("ascii"))
        elif tag == _SAN_DNS:
            hosts.append(value.decode("ascii"))
        elif tag == _SAN_IP:
            hosts.append(_ip(value))
    return tuple(uris), tuple(hosts)


def _ip(value: bytes) -> str:
    from _socket import AF_INET, AF_INET6, inet_ntop

    return inet_ntop(AF_INET if len(value) == 4 else AF_INET6, value)


def _time(tag: int, value: bytes) -> int:
    """`YYMMDDHHMMSSZ`, or with four digits of a year; RFC 5280 4.1.2.5."""
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"a date has tag {tag:#x}")
    if len(text) != 15 or not text.endswith("Z") or not text[:14].isdigit():
        raise ValueError(f"{text!r} is no date")
    month, day, hour, minute, second = (int(text[start : start + 2]) for start in range(4, 14, 2))
    return (_days(int(text[:4]), month, day) * 24 + hour) * 3600 + minute * 60 + second


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970. Years begin in March here, so that the leap day is the last one."""
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469


def _only(data: bytes, tag: int) -> bytes:
    values = list(_values(data))
    if len(values) != 1:
        raise ValueError("more follows its end" if values else "it is empty")
    return _expect(*values[0], tag)


def _expect(tag: int, value: bytes, wanted: int) -> bytes:
    if tag != wanted:
        raise ValueError(f"tag {tag:#x} stands where {wanted:#x} should")
    return value


def _values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tags and values of an encoding (X.690, definite lengths up to four bytes), in turn."""
    position = 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4:
                raise ValueError("a length is indefinite or huge")
            length = int.from_bytes(data[position : position + count], "big")
            position += count
        start, position = position, position + length
        if position > len(data):
            raise ValueError("it ends early")
        yield tag, data[start:position]
