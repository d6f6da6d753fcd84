"""What one end of a TLS connection shows the other: a certificate, its private key, and the CA that it believes.

Credentials are files in PEM, usually `ca.pem`, `cert.pem` and `key.pem` in one directory as `tvix tls issue` makes it. They are
read when a connection is made, so that renewed ones are used by the next connection, and the dates of a certificate are looked at
then: an error of our own is better found here than guessed from how the other end hangs up.

The private key is a `Secret`, which doesn't print; it reaches OpenSSL through memory, never through another file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from time import gmtime, strftime, time
from typing import TYPE_CHECKING, NamedTuple

from tvix.castore.certificate import Certificate, MalformedCertificate, parse_certificate, pem_blocks
from tvix.castore.tls_errors import (
    CredentialsMalformed,
    CredentialsMissing,
    KeyExposed,
    OwnCertificateExpired,
    OwnCertificateNotYetValid,
)

if TYPE_CHECKING:
    from ssl import SSLContext

    from tvix.castore.addresses import Address
    from tvix.castore.grpc_import import Foreign

CA_FILE, CERTIFICATE_FILE, KEY_FILE = "ca.pem", "cert.pem", "key.pem"
FRAMED_ALPN = "tvix-framed/1"
"""What both ends of a framed connection over TLS name as the protocol inside, so that neither mistakes gRPC for it."""

_FILE_BYTES_MAX = 1 << 20
_SYSTEM_CAS = "/etc/ssl/certs/ca-certificates.crt"


class Secret:
    """Bytes that don't print. `reveal` gives them."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """For whoever needs them, which logs and errors don't."""
        return self._value

    def __repr__(self) -> str:
        return "<redacted>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret stays in its process")


class Credentials(NamedTuple):
    """In PEM. No certificate and key means that we don't say who we are; no CA stands for those of the system."""

    ca: bytes
    certificate: bytes = b""
    key: Secret = Secret(b"")
    file: str = ""
    """Where the certificate came from, for errors."""

    @property
    def identity(self) -> str:
        """What the certificate calls us: `tvix://SITE/ROLE/NAME`, or what comes closest; empty without one."""
        if not self.certificate:
            return ""
        return identity_of(own_certificate(self))

    def check_dates(self, now: float | None = None) -> None:
        """Raises `OwnCertificateExpired`, `OwnCertificateNotYetValid`."""
        if not self.certificate:
            return
        own = own_certificate(self)
        now = time() if now is None else now
        if now > own.not_after:
            raise OwnCertificateExpired(file=self.file, identity=identity_of(own), date=date(own.not_after), now=date(now))
        if now < own.not_before:
            raise OwnCertificateNotYetValid(file=self.file, identity=identity_of(own), date=date(own.not_before), now=date(now))

    def client_context(self) -> SSLContext:
        """For a framed connection. Raises `CredentialsMalformed` where key and certificate don't belong together."""
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._fill(context)
        return context

    def server_context(self) -> SSLContext:
        """For framed connections; callers must show a certificate of the CA."""
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        self._fill(context)
        return context

    def _fill(self, context: SSLContext) -> None:
        import ssl

        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([FRAMED_ALPN])
        try:
            context.load_verify_locations(cadata=self.ca.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise CredentialsMalformed(file=f"the CA beside {self.file}", reason=_reason(error)) from None
        if not self.certificate:
            return
        # OpenSSL reads files only; this one has no name and ends with the call.
        memory = os.memfd_create("credentials", os.MFD_CLOEXEC)
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(self.key.reveal() + b"\n" + self.certificate)
            context.load_cert_chain(f"/proc/self/fd/{memory}")
        except ssl.SSLError as error:
            reason = "the key belongs to another certificate" if "MISMATCH" in str(error) else _reason(error)
            raise CredentialsMalformed(file=self.file, reason=reason) from None
        finally:
            os.close(memory)

    def grpc_channel_credentials(self, grpc: Foreign) -> Foreign:
        """The same for a gRPC channel; `grpc` is that module."""
        key, certificate = (self.key.reveal(), self.certificate) if self.certificate else (None, None)
        return grpc.ssl_channel_credentials(self.ca, key, certificate)


class CredentialFiles(NamedTuple):
    """Where credentials are. `certificate` and `key` are empty for nobody, `ca` is empty for the CAs of the system."""

    ca: str
    certificate: str = ""
    key: str = ""

    def read(self) -> Credentials:
        """Raises `CredentialsMissing`, `CredentialsMalformed`, `KeyExposed`."""
        ca = _read(self.ca or _SYSTEM_CAS)
        _blocks(self.ca or _SYSTEM_CAS, ca, b"CERTIFICATE")
        if not self.certificate and not self.key:
            return Credentials(ca)
        if not self.certificate or not self.key:
            raise CredentialsMissing(file="a key" if self.certificate else "a certificate", reason="cert= and key= go together")
        certificate = _read(self.certificate)
        first = _blocks(self.certificate, certificate, b"CERTIFICATE")[0]
        key = _read_key(self.key)
        try:
            parse_certificate(first)
        except MalformedCertificate as error:
            raise CredentialsMalformed(file=self.certificate, reason=str(error)) from None
        return Credentials(ca, certificate, key, self.certificate)

    def stamp(self) -> tuple[object, ...]:
        """Something that is another when the files are others."""
        stamps: list[object] = []
        for path in self:
            try:
                found = os.stat(path)
            except OSError as error:
                stamps.append(error.errno)
            else:
                stamps.append((found.st_ino, found.st_mtime_ns, found.st_size))
        return tuple(stamps)


class ServerTls:
    """The credentials of a server, read again when their files change.

    Files that can't be used, as while they are being replaced, leave the server with what it had; `failed` is told why, once for
    each change.
    """

    def __init__(self, files: CredentialFiles, failed: Callable[[Exception], object] = lambda _error: None) -> None:
        self._files = files
        self._failed = failed
        self._lock = Lock()
        self._stamp = files.stamp()
        self._credentials = files.read()
        self._check_dates(self._credentials)
        self._context = self._credentials.server_context()
        self.site = site_of(own_certificate(self._credentials), files.certificate)

    def current(self) -> Credentials:
        """What the files hold, or held when they last could be used."""
        self._renew()
        return self._credentials

    def context(self) -> SSLContext:
        """For the next framed connection."""
        self._renew()
        return self._context

    def grpc_credentials(self, grpc: Foreign) -> Foreign:
        """For a port of a gRPC server, which asks for them at each handshake."""
        given = self._credentials

        def configuration(credentials: Credentials) -> Foreign:
            pair = (credentials.key.reveal(), credentials.certificate)
            return grpc.ssl_server_certificate_configuration([pair], root_certificates=credentials.ca)

        def renewed() -> Foreign:
            nonlocal given
            credentials = self.current()
            if credentials is given:
                return None
            given = credentials
            return configuration(credentials)

        return grpc.dynamic_ssl_server_credentials(configuration(given), renewed, require_client_authentication=True)

    def _check_dates(self, credentials: Credentials) -> None:
        credentials.check_dates()

    def _renew(self) -> None:
        with self._lock:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                credentials = self._files.read()
                self._check_dates(credentials)
                context = credentials.server_context()
                if site_of(own_certificate(credentials), self._files.certificate) != self.site:
                    raise CredentialsMalformed(file=self._files.certificate, reason=f"it is from another site than {self.site}")
            except Exception as error:
                self._failed(error)
                return
            self._credentials, self._context = credentials, context


def files_in(directory: str) -> CredentialFiles:
    """Where `tvix tls issue` put them."""
    return CredentialFiles(*(os.path.join(directory, name) for name in (CA_FILE, CERTIFICATE_FILE, KEY_FILE)))


def files_of(address: Address) -> CredentialFiles:
    """What an address names: `credentials=DIR`, and `ca=`, `cert=`, `key=` in place of single ones of its files."""
    directory = address.parameter("credentials")
    given = files_in(directory) if directory else CredentialFiles("")
    return CredentialFiles(*(address.parameter(name, path) for name, path in zip(("ca", "cert", "key"), given, strict=True)))


def own_certificate(credentials: Credentials) -> Certificate:
    """The first certificate of the file, which is the one that the key belongs to."""
    return parse_certificate(pem_blocks(credentials.certificate, b"CERTIFICATE")[0], credentials.file)


def identity_of(certificate: Certificate) -> str:
    """The name that a certificate gives its owner."""
    names = [uri for uri in certificate.uris if uri.startswith("tvix://")] or list(certificate.hosts)
    return names[0] if names else "nobody"


def site_of(certificate: Certificate, file: str) -> str:
    """The site of a server's certificate. Raises `CredentialsMalformed` where it isn't the certificate of a server."""
    parts = identity_of(certificate).removeprefix("tvix://").split("/")
    if len(parts) != 3 or parts[1] != "server":
        raise CredentialsMalformed(
            file=file, reason=f"a server wants a certificate of the role server, this is {identity_of(certificate)}"
        )
    return parts[0]


def date(seconds: float) -> str:
    """A time as errors say it."""
    return strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(seconds))


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise CredentialsMissing(file=path, reason=error.strerror or str(error)) from None


def _read_key(path: str) -> Secret:
    """A key that others may read is refused: whoever copied it can be us."""
    text = _read(path)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise CredentialsMissing(file=path, reason=error.strerror or str(error)) from None
    if mode & 0o004:
        raise KeyExposed(file=path, mode=f"{mode & 0o777:04o}")
    if not (text.count(b"-----BEGIN ") == text.count(b"PRIVATE KEY-----") // 2 == 1):
        raise CredentialsMalformed(file=path, reason="it holds no private key in PEM, or several")
    if b"ENCRYPTED" in text:
        raise CredentialsMalformed(file=path, reason="the key wants a passphrase, and nobody is there to type one")
    return Secret(text)


def _blocks(path: str, text: bytes, label: bytes) -> list[bytes]:
    try:
        found = pem_blocks(text, label)
    except ValueError as error:
        raise CredentialsMalformed(file=path, reason=f"it is no PEM: {error}") from None
    if not found:
        raise CredentialsMalformed(file=path, reason=f"it holds no {label.decode().lower()} in PEM")
    return found


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
