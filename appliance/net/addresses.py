"""`ip=` as the kernel reads it (Documentation/admin-guide/nfs/nfsroot.rst), and arithmetic on IPv4 prefixes.

    ip=CLIENT:SERVER:GATEWAY:NETMASK:HOST:DEVICE:AUTOCONF:DNS0:DNS1     or one word: dhcp, on, any, off, none, both

With a client address the configuration is static; without one AUTOCONF asks for DHCP (`off` and `none`: no network at all). BOOTP
and RARP are not spoken: `both` and `any` mean DHCP. SERVER is for NFS roots, and NTP servers may follow: both are checked and left
unused.
"""

from __future__ import annotations

import _socket

from tvix.errors import EX_USAGE, TvixError

_DHCP = ("dhcp", "on", "any", "both")
_NONE = ("off", "none")
_FIELDS = ("client", "server", "gateway", "netmask", "host", "device", "autoconf", "dns0", "dns1", "ntp0", "ntp1")
_ADDRESSES = ("client", "server", "gateway", "netmask", "dns0", "dns1", "ntp0", "ntp1")


class InvalidAddress(TvixError):
    """`ip=` on the kernel command line can't be understood."""

    identifier = "net.invalid-ip"
    message = "ip={text}: {reason}"
    hint = "the syntax is ip=CLIENT:SERVER:GATEWAY:NETMASK:HOST:DEVICE:AUTOCONF:DNS0:DNS1, or ip=dhcp"
    exit_code = EX_USAGE


class Configuration:
    """What a link is to be set to. Filled from `ip=` or from a lease; `routes` are (network, prefix, gateway or None)."""

    __slots__ = ("address", "domain", "hostname", "mtu", "prefix", "resolvers", "routes")

    def __init__(self, address: str, prefix: int) -> None:
        self.address = address
        self.prefix = prefix
        self.routes: list[tuple[str, int, str | None]] = []
        self.resolvers: list[str] = []
        self.domain = ""
        self.hostname = ""
        self.mtu = 0


class Request:
    """What `ip=` asks for: `method` is `dhcp`, `static` or `none`; `device` is empty for any."""

    __slots__ = ("configuration", "device", "hostname", "method")

    def __init__(self, method: str, device: str = "", hostname: str = "", configuration: Configuration | None = None) -> None:
        self.method = method
        self.device = device
        self.hostname = hostname
        self.configuration = configuration


def parse(text: str | None) -> Request:
    """Read the value of `ip=`; None, where it isn't given, is DHCP. Raises `InvalidAddress`."""
    if text is None or text in _DHCP:
        return Request("dhcp")
    if text in _NONE:
        return Request("none")
    values = text.split(":")
    if len(values) > len(_FIELDS):
        raise InvalidAddress(text=text, reason=f"{len(values)} fields, there are {len(_FIELDS)}")
    if len(values) == 1 and not values[0][:1].isdigit():
        raise InvalidAddress(text=text, reason=f"{text} is neither an address nor one of {', '.join(_DHCP + _NONE)}")
    fields = dict(zip(_FIELDS, values + [""] * len(_FIELDS), strict=False))
    for name in _ADDRESSES:
        if fields[name] and not is_address(fields[name]):
            raise InvalidAddress(text=text, reason=f"{name} {fields[name]} is not an IPv4 address")
    autoconf = fields["autoconf"]
    if autoconf and autoconf not in _DHCP + _NONE:
        raise InvalidAddress(text=text, reason=f"autoconf {autoconf} is none of {', '.join(_DHCP + _NONE)}")
    if not fields["client"]:
        method = "none" if autoconf in _NONE else "dhcp"
        return Request(method, fields["device"], fields["host"])
    return _static(text, fields)


def _static(text: str, fields: dict[str, str]) -> Request:
    if fields["autoconf"] in _DHCP:
        raise InvalidAddress(text=text, reason=f"an address and autoconf {fields['autoconf']}: give one of them")
    try:
        prefix = prefix_of(fields["netmask"] or _class_netmask(fields["client"]))
    except ValueError:
        raise InvalidAddress(text=text, reason=f"netmask {fields['netmask']} has holes") from None
    configuration = Configuration(fields["client"], prefix)
    configuration.hostname = fields["host"]
    configuration.resolvers = [fields[name] for name in ("dns0", "dns1") if fields[name]]
    if fields["gateway"]:
        configuration.routes = [("0.0.0.0", 0, fields["gateway"])]  # noqa: S104 the default route, not a socket
    return Request("static", fields["device"], fields["host"], configuration)


def is_address(text: str) -> bool:
    """Whether a text is four decimal numbers with dots (`inet_aton` alone takes `10.1` too)."""
    parts = text.split(".")
    return len(parts) == 4 and all(part.isascii() and part.isdigit() and len(part) <= 3 and int(part) < 256 for part in parts)


def prefix_of(netmask: str) -> int:
    """255.255.255.0 → 24. Raises ValueError for a mask with holes."""
    bits = int.from_bytes(_socket.inet_aton(netmask), "big")
    prefix = bits.bit_count()
    if bits != (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF:
        raise ValueError(netmask)
    return prefix


def in_network(address: str, network: str, prefix: int) -> bool:
    """Whether an address lies in NETWORK/PREFIX."""
    one, other = (int.from_bytes(_socket.inet_aton(text), "big") for text in (address, network))
    return (one ^ other) >> (32 - prefix) == 0


def _class_netmask(address: str) -> str:
    """The mask an address had before there were prefixes, which is what the kernel falls back to."""
    first = int(address.split(".", maxsplit=1)[0])
    return "255.0.0.0" if first < 128 else "255.255.0.0" if first < 192 else "255.255.255.0"
