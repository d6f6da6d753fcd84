"""From a server's gRPC address to the one at which the same server speaks the framed protocol, where it offers that.

The server is asked over a connection of its own, without gRPC, which then may not have to be imported at all. What it may say is
little: another port of the same host, or another socket in the same directory, TLS where there was TLS. The place is tried out
before it is used, and whatever isn't as expected leaves the address as it was.
"""

from __future__ import annotations

import os
import socket
from time import monotonic

from tvix.castore.addresses import Address, parse_address
from tvix.castore.framed_connection import connect, connect_socket
from tvix.castore.http2_unary import NotAnswered, call
from tvix.castore.remote_errors import CallFailed
from tvix.castore.transfer.messages import SERVICE
from tvix.castore.transfer.requests import Description, decode_description
from tvix.errors import TvixError

SCHEMES = {"grpc+http": "tvix+tcp", "grpc+https": "tvix+tls", "grpc+unix": "tvix+unix"}
"""What takes the place of what."""

_DESCRIBE = f"/{SERVICE}/Describe"
_FEATURE = "closure"
_CANDIDATES_MAX = 4
_UNQUOTED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def framed_address(address: Address, seconds: float) -> Address:
    """The address of the same server by the framed protocol, with the same parameters; `address` itself where it offers none, or
    doesn't answer within `seconds` altogether."""
    if address.scheme not in SCHEMES or not can_speak(address):
        return address
    end = monotonic() + seconds
    try:
        described = _ask(address, end)
        for candidate in _candidates(address, described):
            if _answers(candidate, seconds, end):
                return candidate
    except (NotAnswered, TvixError, OSError):
        pass  # gRPC finds out what is wrong, and says so
    return address


def can_speak(address: Address) -> bool:
    """Whether this build has what the framed protocol would take: for TLS, Python's own."""
    if address.scheme != "grpc+https":
        return True
    try:
        import ssl  # noqa: F401
    except ImportError:
        return False
    return True


def _ask(address: Address, end: float) -> Description:
    """Raises `NotAnswered`, `OSError`, and what is wrong with TLS or with the answer."""
    connected: socket.socket = connect_socket(address, max(end - monotonic(), 0.001))
    encrypted = address.scheme == "grpc+https"
    if encrypted:
        from tvix.castore.tls import GRPC_ALPN, client_socket

        connected = client_socket(connected, address, GRPC_ALPN)
    host = f"[{address.host}]" if ":" in address.host else address.host
    authority = "localhost" if address.path else f"{host}:{address.port}"
    with connected:
        return decode_description(call(connected, authority, _DESCRIBE, b"", end, encrypted=encrypted))


def _candidates(address: Address, described: Description) -> list[Address]:
    scheme = SCHEMES[address.scheme]
    if _FEATURE not in described.features:
        return []
    _, mark, query = address.url.partition("?")
    if address.path:
        directory = os.path.dirname(address.path)
        names = [name for name in described.framed_sockets if name not in (b"", b".", b"..") and b"/" not in name]
        paths = [os.fsencode(os.path.join(directory, os.fsdecode(name))) for name in names]
        places = ["".join(chr(byte) if byte in _UNQUOTED or byte == 0x2F else f"%{byte:02X}" for byte in path) for path in paths]
    else:
        host = f"[{address.host}]" if ":" in address.host else address.host
        ports = described.framed_tls_ports if scheme == "tvix+tls" else described.framed_ports
        places = [f"//{host}:{port}" for port in ports if 0 < port < 65536]
    return [parse_address(f"{scheme}:{place}{mark}{query}") for place in places[:_CANDIDATES_MAX]]


def _answers(address: Address, seconds: float, end: float) -> bool:
    """Whether a server of ours is there: nobody says that what lies between us and a port lets us through to it."""
    try:
        connection = connect(address, seconds, end)
    except (CallFailed, TvixError):
        return False
    try:
        connection.begin(_DESCRIBE, b"", end)
        return _FEATURE in decode_description(bytes(connection.answer(end))).features
    except (CallFailed, TvixError):
        return False
    finally:
        connection.close()
