"""rtnetlink by hand: links up, MTU, addresses and routes of IPv4. One request, one acknowledgement (man 7 rtnetlink).

A socket is opened for each request: configuring a machine takes five of them.
"""

from __future__ import annotations

import _socket
import os
import struct

RTM_NEWLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE = 16, 20, 21, 24
_REQUEST, _ACK, _REPLACE, _CREATE = 1, 4, 0x100, 0x400
_NLMSG_ERROR = 2
_AF_INET = 2
_NETLINK_ROUTE = 0
_IFLA_MTU = 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
_IFF_UP = 1
_TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _SCOPE_LINK, _UNICAST = 254, 3, 0, 253, 1


def link_up(index: int) -> None:
    """Set a link administratively up. Raises OSError."""
    _request(RTM_NEWLINK, struct.pack("=BxHiII", 0, 0, index, _IFF_UP, _IFF_UP))


def set_mtu(index: int, mtu: int) -> None:
    """Set the MTU of a link. Raises OSError where the link can't do it."""
    _request(RTM_NEWLINK, struct.pack("=BxHiII", 0, 0, index, 0, 0) + _attribute(_IFLA_MTU, struct.pack("=I", mtu)))


def add_address(index: int, address: str, prefix: int) -> None:
    """Give a link an IPv4 address, with the network's broadcast address. The same again is no error. Raises OSError."""
    raw = _socket.inet_aton(address)
    body = struct.pack("=BBBBi", _AF_INET, prefix, 0, 0, index) + _attribute(_IFA_LOCAL, raw) + _attribute(_IFA_ADDRESS, raw)
    if prefix < 31:
        host = (1 << (32 - prefix)) - 1
        broadcast = (int.from_bytes(raw, "big") | host).to_bytes(4, "big")
        body += _attribute(_IFA_BROADCAST, broadcast)
    _request(RTM_NEWADDR, body, _CREATE | _REPLACE)


def remove_address(index: int, address: str, prefix: int) -> None:
    """Take an IPv4 address off a link, and with it its routes. Raises OSError."""
    raw = _socket.inet_aton(address)
    _request(RTM_DELADDR, struct.pack("=BBBBi", _AF_INET, prefix, 0, 0, index) + _attribute(_IFA_LOCAL, raw))


def add_route(index: int, destination: str, prefix: int, gateway: str | None) -> None:
    """Route a network through a gateway, or straight onto the link where it is None. Raises OSError.

    The metric is the link's index, so that of two default routes the older link's counts, and the same route again is no error.
    """
    scope = _SCOPE_UNIVERSE if gateway else _SCOPE_LINK
    body = struct.pack("=BBBBBBBBI", _AF_INET, prefix, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, scope, _UNICAST, 0)
    if prefix:
        body += _attribute(_RTA_DST, _socket.inet_aton(destination))
    body += _attribute(_RTA_OIF, struct.pack("=i", index)) + _attribute(_RTA_PRIORITY, struct.pack("=I", index))
    if gateway:
        body += _attribute(_RTA_GATEWAY, _socket.inet_aton(gateway))
    _request(RTM_NEWROUTE, body, _CREATE | _REPLACE)


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _request(kind: int, body: bytes, flags: int = 0) -> None:
    """Send one message and read its acknowledgement."""
    channel = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
    try:
        channel.settimeout(10)
        header = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, 1, 0)
        channel.sendto(header + body, (0, 0))
        reply = channel.recv(65536)
    finally:
        channel.close()
    _, answer, _, _, _, error = struct.unpack_from("=IHHIIi", reply)
    if answer != _NLMSG_ERROR:
        raise OSError(f"netlink answered a message of kind {answer} instead of an acknowledgement")
    if error:
        raise OSError(-error, os.strerror(-error))
