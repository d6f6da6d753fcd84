"""Brings the network up and keeps it: every link with carrier gets an address, by DHCP or as `ip=` says.

`bring_up` returns when the first link has its address (others with carrier get a moment to get theirs); `keep` then goes on for
ever, in a process of its own, which inherits the sockets: it renews leases, and serves links that come later.
"""

from __future__ import annotations

import select
import time

from appliance.net import dhcp, links, netlink, resolver
from tvix.errors import EX_UNAVAILABLE, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.net.addresses import Configuration, Request
    from appliance.net.dhcp_packet import Lease
    from appliance.net.links import Link


class NoLink(TvixError):
    """The machine has no network link that could be used."""

    identifier = "net.no-link"
    message = "no network link has carrier after {seconds:g} s (seen: {seen})"
    hint = "is there a network card, is its driver in the initrd (tvix image initrd --kernel-modules), is the cable in?"
    exit_code = EX_UNAVAILABLE


class NoLease(TvixError):
    """No DHCP server gave an address."""

    identifier = "net.no-lease"
    message = "no DHCP server gave an address within {seconds:g} s on {links}"
    hint = "is there a DHCP server on that network? ip=ADDRESS::GATEWAY:NETMASK::DEVICE sets an address without one"
    exit_code = EX_UNAVAILABLE


class AddressRefused(TvixError):
    """The kernel refuses a configuration."""

    identifier = "net.refused"
    message = "{link}: the kernel refuses {address}/{prefix} or its routes: {reason}"
    hint = "is the gateway in the link's network?"


class Times:
    """How long to wait for what, in seconds."""

    __slots__ = ("backoff", "carrier", "grace", "lease", "patience")

    def __init__(
        self,
        *,
        carrier: float = 15,
        lease: float = 60,
        grace: float = 2,
        backoff: tuple[float, ...] = (1, 2, 4, 8, 16),
        patience: float = 5,
    ) -> None:
        self.carrier = carrier
        self.lease = lease
        self.grace = grace
        self.backoff = backoff
        self.patience = patience


def now() -> float:
    """Seconds that go on while the machine sleeps, as leases do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Network:
    """The links of this machine and what they are to be."""

    def __init__(
        self,
        request: Request,
        *,
        times: Times | None = None,
        rescan: Callable[[], object] = lambda: None,
        log: Callable[[str], None] = lambda _text: None,
        resolv_conf: str = resolver.PATH,
    ) -> None:
        """`rescan` is called while there is no link yet: it looks for devices that want a driver."""
        self._request = request
        self._times = times or Times()
        self._rescan = rescan
        self._log = log
        self._resolv_conf = resolv_conf
        self._seen: dict[str, Link] = {}
        self._clients: dict[str, dhcp.Client] = {}
        self.configured: dict[str, Configuration] = {}
        """Links that have an address, by name."""

    def bring_up(self) -> dict[str, Configuration]:
        """Raises `NoLink`, `NoLease`, `AddressRefused`, OSError."""
        links.loopback_up()
        if self._request.method == "none":
            return {}
        started = now()
        while True:
            self._look()
            if self.configured and self._settled(started):
                return self.configured
            self._give_up(now() - started)
            self._turn(0.02 if not self._clients else 0.2)

    def keep(self) -> None:
        """Serve leases for as long as there is one to serve. Errors are logged, and tried again."""
        while self._clients:
            try:
                self._look()
                self._turn(30)
            except (OSError, TvixError) as error:
                self._log(f"network: {error}")
                time.sleep(1)

    @property
    def is_kept(self) -> bool:
        """Whether there is something for `keep` to do."""
        return bool(self._clients)

    def _look(self) -> None:
        """Find links; set new ones up; begin with those that have carrier."""
        if not self._seen:
            self._rescan()
        for link in links.links():
            if self._request.device not in ("", link.name):
                continue
            if link.name not in self._seen:
                netlink.link_up(link.index)
                self._seen[link.name] = link
            if link.name not in self._clients and link.name not in self.configured and link.has_carrier():
                self._begin(link)

    def _begin(self, link: Link) -> None:
        if self._request.method == "static":
            assert self._request.configuration is not None
            if not self.configured:
                self._apply(link, self._request.configuration)
            return
        self._clients[link.name] = dhcp.Client(
            link,
            now(),
            lambda lease: self._granted(link, lease),
            lambda: self._lost(link),
            log=self._log,
            backoff=self._times.backoff,
            patience=self._times.patience,
        )

    def _turn(self, longest: float) -> None:
        """Wait for an answer or for the next thing due, at most `longest` seconds, and act."""
        poll = select.poll()
        by_descriptor = {client.fileno(): client for client in self._clients.values()}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        due = min((client.due for client in by_descriptor.values()), default=dhcp.NEVER)
        wait = max(0.0, min(longest, due - now()))
        for descriptor, _ in poll.poll(wait * 1000 + 1 if wait else 0):
            by_descriptor[descriptor].receive(now())
        for name, client in list(self._clients.items()):
            if client.lease is not None and client.due <= now() and self._taken_over(client):
                client.close()
                del self._clients[name]
            else:
                client.tick(now())

    def _taken_over(self, client: dhcp.Client) -> bool:
        """Whether another network manager has given the link another address: then the lease is its business."""
        assert client.lease is not None
        return links.address_of(client.link.name) != client.lease.configuration.address

    def _settled(self, started: float) -> bool:
        waiting = [client for client in self._clients.values() if client.lease is None]
        return not waiting or now() - started >= self._times.grace

    def _give_up(self, elapsed: float) -> None:
        if self.configured:
            return
        if self._clients and elapsed >= self._times.lease:
            raise NoLease(seconds=self._times.lease, links=", ".join(self._clients))
        if not self._clients and elapsed >= self._times.carrier:
            seen = ", ".join(self._seen) or "none"
            raise NoLink(seconds=self._times.carrier, seen=seen)

    def _granted(self, link: Link, lease: Lease) -> None:
        if self._request.hostname:
            lease.configuration.hostname = self._request.hostname
        found = lease.configuration
        self._log(f"{link.name}: {found.address}/{found.prefix} for {lease.duration} s from {lease.server}")
        self._apply(link, found)

    def _apply(self, link: Link, configuration: Configuration) -> None:
        try:
            links.apply(link, configuration)
        except OSError as error:
            fields = {"link": link.name, "address": configuration.address, "prefix": configuration.prefix, "reason": error.strerror}
            raise AddressRefused(**fields) from None
        self.configured[link.name] = configuration
        self._write_resolvers(list(self.configured.values()))

    def _lost(self, link: Link) -> None:
        configuration = self.configured.pop(link.name, None)
        if configuration is None:
            return
        self._log(f"{link.name}: {configuration.address} is no longer ours")
        try:
            netlink.remove_address(link.index, configuration.address, configuration.prefix)
        except OSError as error:  # the link has gone, and the address with it
            self._log(f"{link.name}: {error.strerror}")
        self._write_resolvers(list(self.configured.values()))

    def _write_resolvers(self, configurations: Sequence[Configuration]) -> None:
        resolvers = [address for configuration in configurations for address in configuration.resolvers]
        domains = [configuration.domain for configuration in configurations if configuration.domain]
        resolver.write(resolvers, domains[0] if domains else "", self._resolv_conf)
