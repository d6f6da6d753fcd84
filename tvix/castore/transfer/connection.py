"""A scheduler and the link that it has now: dialled again whenever it is lost, driven by whoever polls.

A loop polls `descriptors` for at most `timeout` seconds and calls `turn`; so the one thread of a mount sees kernel and server
alike. Nothing here blocks. A link that says nothing while things are on their way is given up after half the deadline: the machine
at its other end may be gone without a word, and what has arrived isn't asked for again. So is one that says too little, or nothing
of use, for as long as somebody would wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from select import POLLIN, POLLOUT
from time import monotonic

from tvix.castore.addresses import Address
from tvix.castore.transfer.link import Link, LinkLost
from tvix.castore.transfer.receiving import ServerMisbehaves
from tvix.castore.transfer.scheduler import Scheduler
from tvix.errors import TvixError

CONNECT_SECONDS = 5.0
FIRST_PAUSE = 0.1
PAUSE_MAX = 1.0
IDLE_PAUSE_MAX = 15.0
"""Between attempts while nobody waits."""


class Connection:
    """`dial` makes a link. Who waits in the scheduler is let go after `deadline` seconds without a sign of life."""

    def __init__(
        self, scheduler: Scheduler, dial: Callable[[], Link], deadline: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self.scheduler = scheduler
        self.dialled = 0
        """How many links there were."""
        self.received_bytes = 0
        self._dial = dial
        self._deadline = deadline
        self._clock = clock
        self._link: Link | None = None
        self._was_ready = False
        self._since = 0.0
        """When the link was dialled, or last said something."""
        self._busy_since = 0.0
        """When something was on its way for the first time after nothing was."""
        self._pause = 0.0
        self._lost_at = clock() - PAUSE_MAX
        self._idle = True
        self._next_expiry = 0.0
        self._closed = False

    def descriptors(self) -> Iterable[tuple[int, int]]:
        """What to poll: descriptors, and for which events."""
        link = self._link
        if link is None:
            return ()
        return ((link.fileno(), POLLIN | POLLOUT if link.wants_write else POLLIN),)

    def timeout(self) -> float | None:
        """After how many seconds `turn` wants to be called although nothing happened; None for never."""
        link = self._link
        if self.scheduler.unsettled or (link is not None and link.pending) or self._has_news():
            return 0.0
        now = self._clock()
        times = []
        if link is None:
            times.append(self._lost_at + self._wait() - now)
        elif not link.ready:
            times.append(self._since + CONNECT_SECONDS - now)
        elif self.scheduler.in_flight():
            times.append(self._since + self._deadline / 2 - now)
        if self.scheduler.waiting():
            times.append(self._next_expiry - now)
        return max(min(times), 0.0) if times else None

    @property
    def waits(self) -> bool:
        """Whether something is on its way."""
        return self.scheduler.waiting() > 0 or self.scheduler.in_flight() > 0

    @property
    def ready(self) -> bool:
        """Whether the server is there, as far as anyone knows."""
        return self._was_ready

    def turn(self) -> bool:
        """Do what can be done without waiting; whether anything was done."""
        if self._closed:
            return False
        done = False
        try:
            link = self._link or self._redial()
            if link is not None:
                done = self._go_on(link)
        except LinkLost as lost:
            self._lose(lost)
            done = True
        self._idle = not self.scheduler.in_flight()
        self._expire()
        if not done and self.scheduler.unsettled:
            self.scheduler.settle()
            self.flush()
            done = True
        return done

    def flush(self) -> None:
        """Send what the scheduler has to ask; `turn` does it too."""
        link = self._link
        if link is not None and link.ready and self._was_ready:
            try:
                for message in self.scheduler.outgoing():
                    link.send(message)
            except LinkLost as lost:
                self._lose(lost)

    def close(self) -> None:
        """Hang up, and tell everyone who waits."""
        if not self._closed:
            self._closed = True
            self._drop()
            self.scheduler.close()

    def _has_news(self) -> bool:
        return self._was_ready and self.scheduler.has_news

    def _wait(self) -> float:
        """Seconds between one link and the next."""
        if self.scheduler.waiting() or not self._pause:
            return min(self._pause, PAUSE_MAX, self._deadline / 4)  # who waits is to live through several attempts
        return min(self._pause, IDLE_PAUSE_MAX)

    def _redial(self) -> Link | None:
        now = self._clock()
        if now < self._lost_at + self._wait():
            return None
        self._lost_at = self._since = now
        self._pause = min(self._pause * 2, IDLE_PAUSE_MAX) if self._pause else FIRST_PAUSE
        self.dialled += 1
        try:
            self._link = self._dial()
        except TvixError as error:  # of our own credentials
            raise LinkLost(str(error), error) from None
        except OSError as error:  # of this machine, which may be better soon
            raise LinkLost(error.strerror or str(error)) from None
        return self._link

    def _go_on(self, link: Link) -> bool:
        messages, size = link.receive()
        now = self._clock()
        if not self._was_ready:
            if not link.ready:
                if now - self._since >= CONNECT_SECONDS:
                    raise LinkLost("it takes too long to connect")
                return False
            self._was_ready = True
            self._since = self._busy_since = now
            self.scheduler.connected()
        if size:
            self._since = now
            self.received_bytes += size
            self.scheduler.alive(size)
        for message in messages:
            try:
                self.scheduler.receive(message)
            except ServerMisbehaves as error:
                raise LinkLost(str(error)) from None
            self._pause = 0.0  # it is a server of ours, and well
        if self._idle:
            self._since = self._busy_since = now
        elif self.scheduler.stands_still(self._busy_since, self._deadline):
            raise LinkLost(f"nothing of use within {self._deadline:g} s")
        elif now - self._since >= self._deadline / 2:
            raise LinkLost(f"no answer within {self._deadline / 2:g} s")
        asked = self.scheduler.outgoing()
        for message in asked:
            link.send(message)
        return bool(size or asked)

    def _expire(self) -> None:
        """About once a second while somebody waits."""
        now = self._clock()
        if self.scheduler.waiting() and now >= self._next_expiry:
            left = self.scheduler.expire(self._deadline)
            self._next_expiry = now + (1.0 if left is None else min(left, 1.0))

    def _lose(self, lost: LinkLost) -> None:
        self._drop()
        self._lost_at = self._clock()
        self.scheduler.lost(lost.reason)
        if lost.error is not None:
            self.scheduler.fail(lost.error)

    def _drop(self) -> None:
        link, self._link = self._link, None
        self._was_ready = False
        if link is not None:
            with suppress(OSError):
                link.close()


def dialler(address: Address) -> Callable[[], Link]:
    """How to reach a server: without gRPC where its address says so."""
    if address.scheme.startswith("tvix+"):
        from tvix.castore.transfer.framed_link import FramedLink

        return lambda: FramedLink(address)
    from tvix.castore.transfer.grpc_link import GrpcLink

    return lambda: GrpcLink(address)
