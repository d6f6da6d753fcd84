"""Who may do what at an address that a server listens on.

A Unix socket is guarded by the mode of its file, and loopback by being this machine's own: both take reads and writes. With TLS the
certificate of each caller decides. Everywhere else callers can't be told apart, so listening there has to be asked for, and is for
reads unless writes are asked for too.
"""

from __future__ import annotations

from typing import Literal, NamedTuple
from urllib.parse import quote

from tvix.errors import EX_USAGE, TvixError
from tvix.grpc_api.caller import Caller

Access = Literal["read", "write"]
"""`write` includes `read`."""

Insecure = Literal["read", "write"] | None
"""What was spelled out for addresses beyond this machine; None is nothing."""

GRPC, GRPC_TLS, FRAMED_UNIX, FRAMED_TCP, FRAMED_TLS = "grpc", "grpc+https", "tvix+unix", "tvix+tcp", "tvix+tls"
_UNIX = "unix:"
_SOCKET_PATH_BYTES_MAX = 107


class InvalidListenAddress(TvixError):
    """An address to listen on that can't be understood."""

    identifier = "grpc.invalid-listen-address"
    message = "{address!r} is not an address to listen on: {reason}"
    hint = "write HOST:PORT, [IPV6]:PORT, unix:/absolute/path, grpc+https://HOST:PORT, or tvix+unix:, tvix+tcp:// or tvix+tls://"
    exit_code = EX_USAGE


class InsecureAddress(TvixError):
    """An address beyond this machine, and nobody said that this is meant."""

    identifier = "grpc.insecure-address"
    message = "{address} can be reached from other machines, and whoever reaches it isn't asked who they are"
    hint = (
        "tvix+tls:// and grpc+https:// ask for certificates; --insecure serves reads there, --insecure=write also writes; "
        "127.0.0.1 and unix:/path need neither"
    )
    exit_code = EX_USAGE


class NoServerCertificate(TvixError):
    """An address with TLS, and nothing that says who the server is."""

    identifier = "grpc.no-server-certificate"
    message = "{address} wants TLS, and the server has no certificate"
    hint = "`tvix tls issue server/NAME --address HOST` makes one; --credentials DIR says where it is"
    exit_code = EX_USAGE


class Listen(NamedTuple):
    """An address taken apart: `path` of a Unix socket, or else `host` (without brackets) and `port` (0 takes any)."""

    path: str = ""
    host: str = ""
    port: int = 0
    scheme: str = GRPC

    def __str__(self) -> str:
        """As `parse_listen` reads it."""
        if self.path:
            return (_UNIX if self.scheme == GRPC else f"{self.scheme}:") + self.path
        return self.place if self.scheme == GRPC else f"{self.scheme}://{self.place}"

    @property
    def place(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address of the store as clients write it."""
        if self.path:
            return f"{'grpc+unix' if self.scheme == GRPC else self.scheme}:{quote(self.path)}"
        return f"{'grpc+http' if self.scheme == GRPC else self.scheme}://{self.place}"

    @property
    def framed(self) -> bool:
        """Whether our own protocol is spoken there, and not gRPC."""
        return self.scheme in (FRAMED_UNIX, FRAMED_TCP, FRAMED_TLS)

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken there."""
        return self.scheme in (GRPC_TLS, FRAMED_TLS)


def parse_listen(text: str) -> Listen:
    """Read an address. Raises `InvalidListenAddress`.

    gRPC at `HOST:PORT`, `unix:/P`, `grpc+https://HOST:PORT`; the framed protocol at `tvix+tcp://HOST:PORT`, `tvix+tls://HOST:PORT`,
    `tvix+unix:/P`.
    """
    for scheme in (FRAMED_TCP, FRAMED_TLS, GRPC_TLS, "grpc+http"):
        if text.startswith(f"{scheme}://"):
            return _parse_place(text, text[len(scheme) + 3 :], GRPC if scheme == "grpc+http" else scheme)
    for prefix, scheme in ((f"{FRAMED_UNIX}:", FRAMED_UNIX), (_UNIX, GRPC), ("grpc+unix:", GRPC)):
        if text.startswith(prefix):
            return _parse_path(text, text[len(prefix) :], scheme)
    return _parse_place(text, text, GRPC)


def _parse_path(text: str, path: str, scheme: str) -> Listen:
    if not path.startswith("/"):
        raise InvalidListenAddress(address=text, reason="the path of a socket is absolute")
    if "\0" in path or len(path.encode("utf-8", "surrogateescape")) > _SOCKET_PATH_BYTES_MAX:
        reason = "the path contains a NUL byte" if "\0" in path else f"the path is over {_SOCKET_PATH_BYTES_MAX} bytes"
        raise InvalidListenAddress(address=text, reason=reason)
    return Listen(path=path, scheme=scheme)


def _parse_place(text: str, place: str, scheme: str) -> Listen:
    host, colon, digits = place.rpartition(":")
    if not colon or not host:
        raise InvalidListenAddress(address=text, reason="it has no port" if not colon else "it has no host")
    if not (digits.isascii() and digits.isdigit()) or int(digits) > 65535:
        raise InvalidListenAddress(address=text, reason=f"{digits!r} is not a port")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not bare or (":" in bare) != bracketed or "/" in bare:
        raise InvalidListenAddress(address=text, reason="an IPv6 address, and nothing else, stands in brackets")
    return Listen(host=bare, port=int(digits), scheme=scheme)


def access_at(listen: Listen, insecure: Insecure = None) -> Access:
    """What callers at an address may do at most. Raises `InsecureAddress`."""
    if listen.path or listen.encrypted or _is_loopback(listen.host):
        return "write"
    if insecure is None:
        raise InsecureAddress(address=listen)
    return insecure


def caller_at(listen: Listen, access: Access) -> Caller:
    """Who calls at an address without TLS."""
    identity = "unix" if listen.path else "loopback" if _is_loopback(listen.host) else "anonymous"
    return Caller(identity, may_write=access == "write")


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    if host == "localhost":
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False  # a name may resolve to anything, today or tomorrow
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
