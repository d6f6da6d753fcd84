"""A DHCP client for one link: a state machine over a UDP socket that someone else polls (RFC 2131, figure 5, without INIT-REBOOT).

    selecting → requesting → bound → renewing → rebinding → selecting …

The socket is bound to the link, and the broadcast flag set, so a link without an address hears the answers. `due` says when `tick`
wants to be called, `fileno` where answers come from. What happens is told by two callables: `granted(lease)`, for every lease and
renewal, and `lost()`.
"""

from __future__ import annotations

import _socket
import os

from appliance.net import dhcp_packet as packets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.net.links import Link

    Log = Callable[[str], None]

_CLIENT_PORT, _SERVER_PORT = 68, 67
_EVERYONE = "255.255.255.255"
_WANTED = bytes(
    (
        packets.SUBNET_MASK,
        packets.CLASSLESS_ROUTES,  # before the router, as RFC 3442 wants it
        packets.ROUTER,
        packets.DNS,
        packets.DOMAIN,
        packets.HOST_NAME,
        packets.MTU,
        packets.LEASE_TIME,
        packets.RENEWAL_TIME,
        packets.REBINDING_TIME,
    )
)
NEVER = float("inf")


class Client:
    """One link's client. Times are seconds of one clock, passed in."""

    __slots__ = (
        "_backoff",
        "_granted",
        "_log",
        "_lost",
        "_offer",
        "_patience",
        "_since",
        "_socket",
        "_transaction",
        "_tries",
        "due",
        "lease",
        "lease_start",
        "link",
        "state",
    )  # fmt: skip

    def __init__(
        self,
        link: Link,
        now: float,
        granted: Callable[[packets.Lease], None],
        lost: Callable[[], None],
        *,
        log: Log = lambda _text: None,
        backoff: tuple[float, ...] = (1, 2, 4, 8, 16),
        patience: float = 5,
    ) -> None:
        """`backoff` are the waits between tries, the last one repeated; `patience` is the least wait between tries to renew."""
        self.link = link
        self.lease: packets.Lease | None = None
        self.lease_start = 0.0
        self._granted, self._lost, self._log = granted, lost, log
        self._backoff, self._patience = backoff, patience
        self._socket = self._open()
        self._offer: packets.Lease | None = None
        self._transaction = self._tries = 0
        self._since = self.due = now
        self.state = "selecting"
        self._restart(now)

    def fileno(self) -> int:
        """The socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Forget the link; the lease isn't given back, since the machine may want it again."""
        self._socket.close()

    def tick(self, now: float) -> None:
        """Do what time demands: send again, renew, rebind, give up."""
        if now < self.due:
            return
        lease = self.lease
        if lease is None:
            if self.state == "requesting" and self._tries >= len(self._backoff):
                self._restart(now)
            else:
                self._ask(now)
            return
        age = now - self.lease_start
        if age >= lease.duration:
            self._log(f"{self.link.name}: the lease on {lease.configuration.address} ran out")
            self._drop(now)
            return
        state = "rebinding" if age >= lease.rebind else "renewing"
        if state != self.state:
            self.state = state
            self._begin(now)
        self._renew(now, lease, age)

    def receive(self, now: float) -> None:
        """Read what has arrived and act on it. Datagrams that are no answer to ours are passed over."""
        while True:
            try:
                data = self._socket.recv(4096)
            except BlockingIOError:
                return
            except OSError as error:  # ENETDOWN, ECONNREFUSED: the next try will tell
                self._log(f"{self.link.name}: {error.strerror}")
                return
            try:
                packet = packets.decode(data)
                if packets.is_answer(packet, self._transaction, self.link.hardware):
                    self._answer(packet, now)
            except packets.MalformedPacket as error:
                self._log(f"{self.link.name}: {error}")

    def _answer(self, packet: packets.Packet, now: float) -> None:
        if packet.kind == packets.OFFER and self.state == "selecting":
            self._offer = packets.lease(packet)
            self._log(f"{self.link.name}: {packet.server} offers {packet.your_address}")
            self.state, self._tries = "requesting", 0
            self._ask(now)
        elif packet.kind == packets.ACK and self.state in ("requesting", "renewing", "rebinding"):
            self._bind(packets.lease(packet), now)
        elif packet.kind == packets.NAK and self.state in ("requesting", "renewing", "rebinding"):
            reason = packet.options.get(packets.MESSAGE, b"").decode("ascii", "replace")
            self._log(f"{self.link.name}: {packet.server or 'a server'} refuses{': ' if reason else ''}{reason}")
            tries = self._tries
            self._drop(now)
            self._tries = max(tries, 1)
            self.due = now + self._wait()  # a server that offers and refuses must not be asked in a tight loop

    def _bind(self, lease: packets.Lease, now: float) -> None:
        moved = self.lease is not None and self.lease.configuration.address != lease.configuration.address
        if moved:
            self._lost()
        self.lease, self.lease_start, self.state = lease, now, "bound"
        self.due = NEVER if lease.duration == packets.FOREVER else now + lease.renew
        self._granted(lease)

    def _restart(self, now: float) -> None:
        self.state = "selecting"
        self._offer = None
        self._begin(now)
        self.due = now

    def _drop(self, now: float) -> None:
        """The address is no longer ours."""
        if self.lease is not None:
            self._lost()
            self.lease = None
        self._restart(now)

    def _begin(self, now: float) -> None:
        self._transaction = int.from_bytes(os.urandom(4), "big")
        self._since = now
        self._tries = 0

    def _wait(self) -> float:
        """The next step of the back-off, a tenth more or less, so that machines that start together don't ask together."""
        step = self._backoff[min(self._tries - 1, len(self._backoff) - 1)]
        return step * (0.9 + os.urandom(1)[0] / 1280)

    def _ask(self, now: float) -> None:
        """DISCOVER or REQUEST, to everyone."""
        offer = self._offer
        options = {packets.MESSAGE_TYPE: bytes((packets.REQUEST if offer else packets.DISCOVER,))}
        if offer:
            options[packets.REQUESTED_ADDRESS] = _socket.inet_aton(offer.configuration.address)
            options[packets.SERVER] = _socket.inet_aton(offer.server)
        if self._tries:
            self._log(f"{self.link.name}: no answer yet, asking once more")
        self._tries += 1
        self._send(options, _EVERYONE, now)
        self.due = now + self._wait()

    def _renew(self, now: float, lease: packets.Lease, age: float) -> None:
        """REQUEST with our address in the frame: to the server that granted it, later to any. Tries come at half the time left."""
        end = lease.rebind if self.state == "renewing" else lease.duration
        server = lease.server if self.state == "renewing" else _EVERYONE
        options = {packets.MESSAGE_TYPE: bytes((packets.REQUEST,))}
        self._send(options, server, now, address=lease.configuration.address)
        self.due = now + min(max((end - age) / 2, self._patience), max(end - age, 0.1))

    def _send(self, options: dict[int, bytes], to: str, now: float, address: str = "0.0.0.0") -> None:  # noqa: S104
        options[packets.CLIENT_ID] = b"\1" + self.link.hardware
        options[packets.MAX_SIZE] = (1500).to_bytes(2, "big")
        options[packets.WANTED] = _WANTED
        seconds = int(now - self._since)
        broadcast = to == _EVERYONE
        data = packets.encode(
            self._transaction, self.link.hardware, options, seconds=seconds, client_address=address, broadcast=broadcast
        )
        try:
            self._socket.sendto(data, (to, _SERVER_PORT))
        except OSError as error:  # the link is down, or a buffer full: the next try will tell
            self._log(f"{self.link.name}: {error.strerror}")

    def _open(self) -> _socket.socket:
        channel = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        channel.setblocking(False)
        channel.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        channel.setsockopt(_socket.SOL_SOCKET, _socket.SO_BROADCAST, 1)
        channel.setsockopt(_socket.SOL_SOCKET, _socket.SO_BINDTODEVICE, self.link.name.encode())
        channel.bind(("0.0.0.0", _CLIENT_PORT))  # noqa: S104
        return channel
