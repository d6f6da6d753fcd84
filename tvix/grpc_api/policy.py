"""Who may do what at an address that a server listens on.

A Unix socket is guarded by the mode of its file, and loopback by being this machine's own: both take reads and writes. Everywhere
else callers can't be told apart as long as there is no TLS, so listening there has to be asked for, and is for reads unless
writes are asked for too.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from tvix.errors import EX_USAGE, TvixError

Access = Literal["read", "write"]
"""`write` includes `read`."""

Insecure = Literal["read", "write"] | None
"""What was spelled out for addresses beyond this machine; None is nothing."""

_UNIX = "unix:"
_SOCKET_PATH_BYTES_MAX = 107


class InvalidListenAddress(TvixError):
    """An address to listen on that can't be understood."""

    identifier = "grpc.invalid-listen-address"
    message = "{address!r} is not an address to listen on: {reason}"
    hint = "write HOST:PORT, [IPV6]:PORT or unix:/absolute/path"
    exit_code = EX_USAGE


class InsecureAddress(TvixError):
    """An address beyond this machine, and nobody said that this is meant."""

    identifier = "grpc.insecure-address"
    message = "{address} can be reached from other machines, and whoever reaches it isn't asked who they are"
    hint = "--insecure serves reads there, --insecure=write also writes; 127.0.0.1 and unix:/path need neither"
    exit_code = EX_USAGE


class Listen(NamedTuple):
    """An address taken apart: `path` of a Unix socket, or else `host` (without brackets) and `port` (0 takes any)."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return _UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> Listen:
    """Read `HOST:PORT`, `[IPV6]:PORT` or `unix:/P`. Raises `InvalidListenAddress`."""
    if text.startswith(_UNIX):
        path = text[len(_UNIX) :]
        if not path.startswith("/"):
            raise InvalidListenAddress(address=text, reason="the path of a socket is absolute")
        if "\0" in path or len(path.encode("utf-8", "surrogateescape")) > _SOCKET_PATH_BYTES_MAX:
            reason = "the path contains a NUL byte" if "\0" in path else f"the path is over {_SOCKET_PATH_BYTES_MAX} bytes"
            raise InvalidListenAddress(address=text, reason=reason)
        return Listen(path=path)
    host, colon, digits = text.rpartition(":")
    if not colon or not host:
        raise InvalidListenAddress(address=text, reason="it has no port" if not colon else "it has no host")
    if not (digits.isascii() and digits.isdigit()) or int(digits) > 65535:
        raise InvalidListenAddress(address=text, reason=f"{digits!r} is not a port")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not bare or (":" in bare) != bracketed or "/" in bare:
        raise InvalidListenAddress(address=text, reason="an IPv6 address, and nothing else, stands in brackets")
    return Listen(host=bare, port=int(digits))


def access_at(listen: Listen, insecure: Insecure = None) -> Access:
    """What callers at an address may do. Raises `InsecureAddress`."""
    if listen.path or _is_loopback(listen.host):
        return "write"
    if insecure is None:
        raise InsecureAddress(address=listen)
    return insecure


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
