"""DHCP messages: RFC 2131 for the frame, 2132 for options, 3396 for long ones, 3442 for classless routes. Bytes in, values out."""

from __future__ import annotations

import _socket
import struct

from appliance.net.addresses import Configuration, prefix_of
from tvix.errors import EX_DATAERR, TvixError

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = 1, 2, 3, 4, 5, 6, 7
"""Message types, the value of option 53."""

SUBNET_MASK, ROUTER, DNS, HOST_NAME, DOMAIN, MTU = 1, 3, 6, 12, 15, 26
REQUESTED_ADDRESS, LEASE_TIME, OVERLOAD, MESSAGE_TYPE, SERVER, WANTED, MESSAGE, MAX_SIZE = 50, 51, 52, 53, 54, 55, 56, 57
RENEWAL_TIME, REBINDING_TIME, CLIENT_ID, CLASSLESS_ROUTES = 58, 59, 61, 121
_PAD, _END = 0, 255

NO_ADDRESS = "0.0.0.0"  # noqa: S104 the text, not a socket

FOREVER = 0xFFFFFFFF
"""A lease of this many seconds never ends."""

_FRAME = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE = b"\x63\x82\x53\x63"
_BROADCAST = 0x8000
_BOOT_REQUEST, _BOOT_REPLY = 1, 2
_SMALLEST = 300  # relays drop what is shorter (RFC 1542)
_NAME_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")


class MalformedPacket(TvixError):
    """A datagram that is no answer a DHCP client can use."""

    identifier = "net.malformed-dhcp-packet"
    message = "DHCP packet: {reason}"
    exit_code = EX_DATAERR


class Packet:
    """A decoded message. `options` has every option once, pieces joined; `kind` is 0 for BOOTP."""

    __slots__ = ("hardware", "kind", "operation", "options", "transaction", "your_address")

    def __init__(self, operation: int, transaction: int, your_address: str, hardware: bytes, options: dict[int, bytes]) -> None:
        self.operation = operation
        self.transaction = transaction
        self.your_address = your_address
        self.hardware = hardware
        self.options = options
        kind = options.get(MESSAGE_TYPE, b"\0")
        self.kind = kind[0] if len(kind) == 1 else 0

    @property
    def server(self) -> str:
        """The address a server calls itself, or nothing."""
        raw = self.options.get(SERVER, b"")
        return _socket.inet_ntoa(raw) if len(raw) == 4 else ""


class Lease:
    """A configuration and how long it is ours, in seconds: ask its server again after `renew`, any server after `rebind`."""

    __slots__ = ("configuration", "duration", "rebind", "renew", "server")

    def __init__(self, configuration: Configuration, server: str, duration: int, renew: int, rebind: int) -> None:
        self.configuration = configuration
        self.server = server
        self.duration = duration
        self.renew = renew
        self.rebind = rebind


def encode(
    transaction: int,
    hardware: bytes,
    options: dict[int, bytes],
    *,
    seconds: int = 0,
    client_address: str = NO_ADDRESS,
    broadcast: bool = True,
) -> bytes:
    """A request. Broadcast asks for an answer that a link without an address can receive."""
    nothing = bytes(4)
    frame = _FRAME.pack(
        _BOOT_REQUEST,
        1,
        6,
        0,
        transaction,
        min(seconds, 0xFFFF),
        _BROADCAST if broadcast else 0,
        _socket.inet_aton(client_address),
        nothing,
        nothing,
        nothing,
        hardware[:16],
        b"",
        b"",
        _COOKIE,
    )
    body = b"".join(bytes((code, len(value))) + value for code, value in options.items())
    return (frame + body + bytes((_END,))).ljust(_SMALLEST, b"\0")


def decode(data: bytes) -> Packet:
    """Read any BOOTP or DHCP message. Raises `MalformedPacket`."""
    if len(data) < _FRAME.size:
        raise MalformedPacket(reason=f"{len(data)} bytes, at least {_FRAME.size} are needed")
    fields = _FRAME.unpack_from(data)
    if fields[14] != _COOKIE:
        raise MalformedPacket(reason="the magic cookie is missing")
    pieces: dict[int, bytes] = {}
    _collect(data[_FRAME.size :], pieces)
    overload = pieces.get(OVERLOAD, b"\0")
    if overload in (b"\1", b"\3"):
        _collect(fields[13], pieces)  # the file name's place
    if overload in (b"\2", b"\3"):
        _collect(fields[12], pieces)  # the server name's place
    return Packet(fields[0], fields[4], _socket.inet_ntoa(fields[8]), fields[11][: min(fields[2], 16)], pieces)


def is_answer(packet: Packet, transaction: int, hardware: bytes) -> bool:
    """Whether a message answers ours."""
    return packet.operation == _BOOT_REPLY and packet.transaction == transaction and packet.hardware == hardware


def lease(packet: Packet) -> Lease:
    """What an OFFER or ACK grants. Raises `MalformedPacket` where what is needed is missing or senseless.

    Options that are merely useful and malformed are left out: a machine with an address and without a domain can be reached.
    """
    options = packet.options
    address = packet.your_address
    if address.startswith(("0.", "127.")) or int(address.partition(".")[0]) >= 224:
        raise MalformedPacket(reason=f"{address} is offered, which is no machine's address")
    if not packet.server:
        raise MalformedPacket(reason="the server doesn't name itself (option 54)")
    duration = _number(options.get(LEASE_TIME), 4)
    if not duration:
        raise MalformedPacket(reason="no lease time (option 51)")
    try:
        prefix = prefix_of(_socket.inet_ntoa(options[SUBNET_MASK]))
    except (KeyError, OSError, ValueError):
        raise MalformedPacket(reason="no usable subnet mask (option 1)") from None
    configuration = Configuration(address, prefix)
    configuration.routes = _routes(options)
    configuration.resolvers = _addresses(options.get(DNS, b""))
    configuration.domain = _name(options.get(DOMAIN, b""))
    configuration.hostname = _name(options.get(HOST_NAME, b""))[:64]
    mtu = _number(options.get(MTU), 2) or 0
    configuration.mtu = mtu if mtu >= 576 else 0  # smaller ones are bugs, or attacks
    renew = _number(options.get(RENEWAL_TIME), 4) or duration // 2
    rebind = _number(options.get(REBINDING_TIME), 4) or duration * 7 // 8
    if not renew <= rebind <= duration:
        renew, rebind = duration // 2, duration * 7 // 8
    return Lease(configuration, packet.server, duration, renew, rebind)


def _collect(data: bytes, pieces: dict[int, bytes]) -> None:
    position = 0
    while position < len(data):
        code = data[position]
        if code == _END:
            return
        position += 1
        if code == _PAD:
            continue
        if position == len(data) or position + 1 + data[position] > len(data):
            raise MalformedPacket(reason=f"option {code} is cut off")
        size = data[position]
        pieces[code] = pieces.get(code, b"") + data[position + 1 : position + 1 + size]
        position += 1 + size


def _number(value: bytes | None, size: int) -> int | None:
    return int.from_bytes(value, "big") if value is not None and len(value) == size else None


def _addresses(value: bytes) -> list[str]:
    return [_socket.inet_ntoa(value[start : start + 4]) for start in range(0, len(value) - 3, 4)]


def _name(value: bytes) -> str:
    """A host or domain name that is safe in a file; anything else is none."""
    value = value.rstrip(b"\0")
    return value.decode("ascii") if 0 < len(value) <= 253 and _NAME_CHARACTERS.issuperset(value) else ""


def _routes(options: dict[int, bytes]) -> list[tuple[str, int, str | None]]:
    """Classless routes where they are given, which then replace the router (RFC 3442)."""
    routes = _classless(options[CLASSLESS_ROUTES]) if CLASSLESS_ROUTES in options else None
    if routes is None:
        return [("0.0.0.0", 0, router) for router in _addresses(options.get(ROUTER, b""))[:1]]  # noqa: S104
    return routes


def _classless(value: bytes) -> list[tuple[str, int, str | None]] | None:
    """None where it is malformed."""
    routes: list[tuple[str, int, str | None]] = []
    position = 0
    while position < len(value):
        prefix = value[position]
        size = (prefix + 7) // 8
        end = position + 1 + size + 4
        if prefix > 32 or end > len(value):
            return None
        mask = (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF
        network = int.from_bytes(value[position + 1 : end - 4].ljust(4, b"\0"), "big") & mask
        gateway = value[end - 4 : end]
        through = None if gateway == bytes(4) else _socket.inet_ntoa(gateway)
        routes.append((_socket.inet_ntoa(network.to_bytes(4, "big")), prefix, through))
        position = end
    return routes
