"""The client's end of TLS, and what went wrong where the two ends don't accept each other.

gRPC says little about a handshake that failed, and with TLS 1.3 a server judges a client's certificate when the client believes
the handshake to be over. So a connection that is lost early is tried once more by hand, and that says why: where Python's ssl is
there. Elsewhere what gRPC said has to do.
"""

from __future__ import annotations

import socket
from time import time
from typing import TYPE_CHECKING

from tvix.castore.addresses import Address
from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.certificate import parse_certificate, pem_blocks
from tvix.castore.credentials import FRAMED_ALPN, Credentials, date, files_of, own_certificate
from tvix.castore.tls_errors import (
    CertificateRefused,
    CertificateRequired,
    HandshakeFailed,
    NotTls,
    ServerExpired,
    ServerNotYetValid,
    TlsError,
    TlsMissing,
    WrongAuthority,
    WrongHost,
)

if TYPE_CHECKING:
    from ssl import SSLSocket

TLS_SCHEMES = frozenset(("grpc+https", "tvix+tls"))

GRPC_ALPN = "h2"
_PROBE_SECONDS = 5.0
_VERDICT_SECONDS = 1.0
"""How long a server may take to judge our certificate."""


def credentials_of(address: Address) -> Credentials:
    """What an address names, read anew, with dates that hold today. Raises the errors of `tvix.castore.tls_errors`."""
    credentials = files_of(address).read()
    credentials.check_dates()
    return credentials


def client_socket(connected: socket.socket, address: Address, protocol: str = FRAMED_ALPN) -> SSLSocket:
    """Make a connection a TLS one, with `protocol` (its name in ALPN) inside; it keeps its timeout, and is closed where that fails.

    Raises `TlsError` and as above."""
    try:
        credentials = credentials_of(address)
        return _shake_hands(connected, address, credentials, protocol)
    except BaseException:
        connected.close()
        raise


def diagnose(address: Address, details: str = "", *, last: bool = False) -> TlsError | None:
    """Why a connection was lost as soon as it was made, None where TLS isn't to blame.

    `details` is what gRPC said. Connects once more, without asking anything. `last` makes a guess where there is no OpenSSL to look
    closer with. Raises what reading our credentials raises.
    """
    if address.scheme not in TLS_SCHEMES:
        return _expects_tls(address) if address.host else None
    credentials = credentials_of(address)
    said = _from_text(details, address)
    if said is not None:
        return said
    try:
        import ssl
    except ImportError:
        return _refused(address, credentials, "") if last and _takes_and_closes(address, details) else None
    try:
        connected = _connect(address)
    except OSError:
        return None  # it is away
    with connected:
        try:
            with _shake_hands(connected, address, credentials, FRAMED_ALPN if address.scheme == "tvix+tls" else GRPC_ALPN) as inner:
                inner.settimeout(_VERDICT_SECONDS)
                if not inner.recv(1):
                    return _refused(address, credentials, "")
        except TlsError as error:
            return error
        except TimeoutError:
            return None
        except ssl.SSLError as error:
            return _refused(address, credentials, _alert(error))
        except OSError:
            return _refused(address, credentials, "")
    return None


def refusal(error: OSError, address: Address) -> TlsError | None:
    """What the end of a TLS connection in use says about our certificate, None where it was lost for another reason."""
    alert = _alert(error)
    if not alert:
        return None
    return _refused(address, files_of(address).read(), alert)


def begin_handshake(connected: socket.socket, address: Address) -> SSLSocket:
    """A TLS connection whose handshake is still to be made, by `do_handshake`; for sockets that don't block.

    What that raises goes to `handshake_error`. `check_protocol` comes after it. Raises as `client_socket` does.
    """
    return _wrapped(connected, address, credentials_of(address), FRAMED_ALPN)


def handshake_error(error: OSError, address: Address) -> StoreUnavailable:
    """What an error of `do_handshake` means."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return _verification_failed(error.verify_message, address)
    if isinstance(error, TimeoutError):
        return StoreUnavailable(origin=address.url, reason="it takes too long to shake hands")
    if isinstance(error, ssl.SSLError) and "EOF" not in str(error):
        return _from_text(str(error), address) or _handshake_failed(_alert(error), str(error.reason or error), address)
    how = "" if isinstance(error, ssl.SSLError) else f" ({error.strerror or error})"
    reason = f"it ended the TLS handshake{how}; does it speak TLS?"
    return HandshakeFailed(origin=address.url, reason=reason)


def check_protocol(inner: SSLSocket, address: Address, protocol: str = FRAMED_ALPN) -> None:
    """Hold the other end to what it speaks inside of TLS. Raises `NotTls`."""
    if inner.selected_alpn_protocol() != protocol:
        inner.close()
        wanted = "the framed protocol" if protocol == FRAMED_ALPN else "gRPC"
        raise NotTls(origin=address.url, reason=f"it speaks TLS, and not {wanted} inside of it")


def _shake_hands(connected: socket.socket, address: Address, credentials: Credentials, protocol: str) -> SSLSocket:
    inner = _wrapped(connected, address, credentials, protocol)
    try:
        inner.do_handshake()
        check_protocol(inner, address, protocol)
    except BaseException as error:
        inner.close()
        if isinstance(error, OSError):
            raise handshake_error(error, address) from None
        raise
    return inner


def _wrapped(connected: socket.socket, address: Address, credentials: Credentials, protocol: str) -> SSLSocket:
    try:
        import ssl  # noqa: F401
    except ImportError:
        raise TlsMissing(origin=address.url) from None
    context = credentials.client_context()
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(connected, server_hostname=address.host.encode(), do_handshake_on_connect=False)


def _handshake_failed(alert: str, reason: str, address: Address) -> TlsError:
    return HandshakeFailed(origin=address.url, reason=f"the TLS handshake failed: {alert or reason.replace('_', ' ').lower()}")


def _from_text(text: str, address: Address) -> TlsError | None:
    """What a message of gRPC's or OpenSSL's means."""
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text or "UNEXPECTED_EOF" in text or "missing selected ALPN" in text:
        spoken = "it speaks TLS, and not gRPC inside of it" if "ALPN" in text else "it doesn't speak TLS"
        return NotTls(origin=address.url, reason=spoken)
    if "CERTIFICATE_VERIFY_FAILED" in text or "ostname Verification" in text:
        return _verification_failed(text, address)
    return None


def _verification_failed(text: str, address: Address) -> TlsError:
    now = date(time())
    if "has expired" in text:
        return ServerExpired(origin=address.url, now=now)
    if "not yet valid" in text:
        return ServerNotYetValid(origin=address.url, now=now)
    if "issuer" in text or "self-signed" in text or "self signed" in text:
        return WrongAuthority(origin=address.url)
    if "ostname" in text or "mismatch" in text or "not valid for" in text:
        return WrongHost(origin=address.url, host=address.host)
    return HandshakeFailed(origin=address.url, reason=f"the server's certificate can't be verified: {text}")


_ALERTS = {
    "CERTIFICATE_REQUIRED": "it wants one",
    "CERTIFICATE_EXPIRED": "it says that it has expired, by its clock",
    "UNKNOWN_CA": "it comes from another CA",
    "BAD_CERTIFICATE": "it can't make sense of it, or it isn't valid yet by its clock",
    "CERTIFICATE_UNKNOWN": "it doesn't accept it",
    "UNSUPPORTED_CERTIFICATE": "it isn't for this use",
    "ACCESS_DENIED": "it has no rights there",
    "HANDSHAKE_FAILURE": "it wants one",
}


def _alert(error: OSError) -> str:
    """The words for an alert that the other end sent, empty for anything else."""
    reason = str(getattr(error, "reason", "") or "")
    if "ALERT_" not in reason:
        return ""
    return _ALERTS.get(reason.partition("ALERT_")[2], reason.partition("ALERT_")[2].replace("_", " ").lower())


def _refused(address: Address, credentials: Credentials, said: str) -> TlsError:
    """A server took the connection and ended it when it saw who we are."""
    if not credentials.certificate:
        return CertificateRequired(origin=address.url)
    own = own_certificate(credentials)
    if not any(own.is_from(parse_certificate(block)) for block in pem_blocks(credentials.ca, b"CERTIFICATE")):
        said = f"it comes from another CA than the one beside it, {credentials.file}"
    elif not said:
        said = "it ends the connection when it sees it"
    reason = f"{said} (it is valid from {date(own.not_before)} to {date(own.not_after)}; this machine's clock says {date(time())})"
    return CertificateRefused(origin=address.url, identity=credentials.identity, reason=reason)


def _connect(address: Address) -> socket.socket:
    """The host as bytes: text is looked up by the idna codec, which initrds do without."""
    return socket.create_connection((address.host.encode(), address.port), _PROBE_SECONDS)  # type: ignore[arg-type]


def _takes_and_closes(address: Address, details: str) -> bool:
    """Whether a server takes connections and ends them: as gRPC's does when it doesn't accept a certificate."""
    if "closed" not in details:
        return False
    try:
        _connect(address).close()
    except OSError:
        return False
    return True


def _expects_tls(address: Address) -> TlsError | None:
    """Whether what listens where we spoke without TLS wants TLS."""
    try:
        with _connect(address) as connected:
            import ssl  # not before there is somebody to ask

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # nothing is said over this connection
            context.wrap_socket(connected).close()
    except (OSError, ImportError):
        return None
    scheme = {"grpc+http": "grpc+https", "tvix+tcp": "tvix+tls"}.get(address.scheme, "a TLS scheme")
    return NotTls(origin=address.url, reason=f"it wants TLS: write {scheme}:")
