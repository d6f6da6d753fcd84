"""Hashes in expressions: read as leniently, and refused in the words, of C++ Nix.

Its base 64 ignores newlines, and everything from the first `=` on; `nix_compat.hashes` is stricter, as stores want it.
"""

from __future__ import annotations

from tvix.eval.errors import EvalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_BYTES: Final[dict[str, int]] = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
_BASE64: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HEX: Final = frozenset("0123456789abcdefABCDEF")


def known_algorithm(name: str) -> str:
    """The name, if it is one. Raises `EvalError`."""
    if name not in _BYTES:
        raise EvalError(f"unknown hash algorithm '{name}', expect 'md5', 'sha1', 'sha256', or 'sha512'")
    return name


def hash_of_text(text: str, algorithm: str) -> tuple[str, bytes]:
    """Algorithm and digest of `ALGORITHM:DIGEST`, `ALGORITHM-BASE64` or a digest alone. `algorithm` is what it has to be, empty if
    the text says it. Raises `EvalError`.
    """
    named, mark, rest = text.partition(":")
    if not mark:
        named, mark, rest = text.partition("-")
    if not mark:
        if not algorithm:
            raise EvalError(f"hash '{text}' does not include a type, nor is the type otherwise known from context")
        return algorithm, _digest(text, algorithm, False)
    known_algorithm(named)
    if algorithm and named != algorithm:
        raise EvalError(f"hash '{text}' should have type '{algorithm}'")
    return named, _digest(rest, named, mark == "-")


def printed_hash(algorithm: str, digest: bytes, form: str) -> str:
    """The hash in base16, nix32, base64 or sri; only the last one names the algorithm."""
    if form == "base16":
        return digest.hex()
    if form == "nix32":
        from tvix.nix_compat.nixbase32 import encode

        return encode(digest)
    from binascii import b2a_base64

    text = b2a_base64(digest, newline=False).decode()
    return f"{algorithm}-{text}" if form == "sri" else text


def _digest(text: str, algorithm: str, is_sri: bool) -> bytes:
    count = _BYTES[algorithm]
    if not is_sri and len(text) == count * 2:
        if not all(c in _HEX for c in text):
            raise EvalError(f"invalid base-16 hash '{text}'")
        return bytes.fromhex(text)
    if not is_sri and len(text) == (count * 8 + 4) // 5:
        from tvix.nix_compat.nixbase32 import InvalidNixBase32, decode

        try:
            return decode(text)
        except InvalidNixBase32:
            raise EvalError(f"invalid base-32 hash '{text}'") from None
    if is_sri or len(text) == (count + 2) // 3 * 4:
        digest = _from_base64(text)
        if len(digest) != count:
            raise EvalError(f"invalid {'SRI' if is_sri else 'base-64'} hash '{text}'")
        return digest
    raise EvalError(f"hash '{text}' has wrong length for hash algorithm '{algorithm}'")


def _from_base64(text: str) -> bytes:
    """The bytes; none where a character is wrong."""
    number, bits = 0, 0
    found = bytearray()
    for c in text:
        if c == "=":
            break
        if c == "\n":
            continue
        value = _BASE64.find(c)
        if value < 0:
            return b""
        number = (number << 6 | value) & 0xFFFF
        bits += 6
        if bits >= 8:
            bits -= 8
            found.append(number >> bits & 255)
    return bytes(found)
