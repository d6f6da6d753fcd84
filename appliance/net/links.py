"""The machine's network links as /sys/class/net shows them, and how one is configured."""

from __future__ import annotations

import _socket
import fcntl
import os
import struct

from appliance.net import netlink
from appliance.net.addresses import in_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from appliance.net.addresses import Configuration

_SYSFS = "/sys/class/net"
_ETHERNET = 1
_SIOCGIFADDR = 0x8915
LOOPBACK = "lo"


class Link:
    """One link: its name, index and hardware address, which don't change while it is there."""

    __slots__ = ("hardware", "index", "name")

    def __init__(self, name: str) -> None:
        """Raises OSError where the link has gone."""
        self.name = name
        self.index = int(_read(name, "ifindex"))
        self.hardware = bytes.fromhex(_read(name, "address").replace(":", ""))

    def has_carrier(self) -> bool:
        """Whether something is at the other end. A link that is down says no."""
        try:
            return _read(self.name, "carrier") == "1"
        except OSError:  # EINVAL while the link is down
            return False


def links() -> list[Link]:
    """Every Ethernet link of a device (no loopback, no tunnels), by name."""
    found = []
    for name in sorted(os.listdir(_SYSFS)):
        try:
            if name != LOOPBACK and int(_read(name, "type")) == _ETHERNET:
                found.append(Link(name))
        except (OSError, ValueError):  # it went away between the two reads
            continue
    return found


def loopback_up() -> None:
    """Set the loopback link up; the kernel gives it its address. Raises OSError."""
    netlink.link_up(int(_read(LOOPBACK, "ifindex")))


def apply(link: Link, configuration: Configuration) -> None:
    """Give a link its address, routes and MTU, and the machine its name. Raises OSError.

    A router that isn't in the link's network (clouds hand out /32 addresses) gets a route of its own first.
    """
    if configuration.mtu:
        netlink.set_mtu(link.index, configuration.mtu)
    netlink.add_address(link.index, configuration.address, configuration.prefix)
    direct = [route for route in configuration.routes if route[2] is None]
    through = [route for route in configuration.routes if route[2] is not None]
    for network, prefix, gateway in direct + through:
        if gateway and not _reachable(gateway, configuration, direct):
            netlink.add_route(link.index, gateway, 32, None)
        netlink.add_route(link.index, network, prefix, gateway)
    if configuration.hostname:
        _socket.sethostname(configuration.hostname)


def address_of(name: str) -> str | None:
    """The first IPv4 address of a link, if it has any."""
    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()))
    except OSError:
        return None
    finally:
        probe.close()
    return _socket.inet_ntoa(answer[20:24])


def _reachable(gateway: str, configuration: Configuration, direct: list[tuple[str, int, str | None]]) -> bool:
    networks = [(configuration.address, configuration.prefix), *((network, prefix) for network, prefix, _ in direct)]
    return any(in_network(gateway, network, prefix) for network, prefix in networks)


def _read(name: str, attribute: str) -> str:
    with open(f"{_SYSFS}/{name}/{attribute}", encoding="utf-8") as stream:
        return stream.read().strip()
