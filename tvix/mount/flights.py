"""Work that may take a round trip: a few threads, one flight for each thing fetched, and nobody waits for ever.

Whoever needs the same thing boards the flight that is under way. When it lands, its thread answers them all. A waiter that sees no
sign of life from far for `deadline` seconds is told so and let go; the flight itself goes on: its services have deadlines too.
"""

from __future__ import annotations

from collections import deque
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING

from tvix.mount.source import Stalled

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tvix.mount.source import Done

THREADS = 8


class _Flight:
    __slots__ = ("boarded", "fetch", "key", "passengers")

    def __init__(self, key: Hashable, fetch: Callable[[], object]) -> None:
        self.key = key
        self.fetch = fetch
        self.passengers: list[tuple[int, Done]] = []
        self.boarded = monotonic()


class Flights:
    """At most `THREADS` fetches at a time, started when they are needed."""

    def __init__(self, deadline: float, heard: Callable[[], float]) -> None:
        """`heard` says when far last said anything, on the clock of `monotonic`."""
        self._deadline = deadline
        self._heard = heard
        self._under_way: dict[Hashable, _Flight] = {}
        self._queue: deque[_Flight] = deque()
        self._change = Condition()
        self._threads: list[Thread] = []
        self._idle = 0
        self._closed = False

    def board(self, key: Hashable, ticket: int, fetch: Callable[[], object], passenger: Done) -> None:
        """Have `passenger` called with what `fetch` returns or raises. `ticket` is a name by which to `leave`."""
        with self._change:
            flight = self._under_way.get(key)
            if flight is None:
                flight = self._under_way[key] = _Flight(key, fetch)
                self._queue.append(flight)
                if self._idle:
                    self._change.notify()
                elif len(self._threads) < THREADS:
                    self._threads.append(Thread(target=self._work, name=f"fetch-{len(self._threads)}", daemon=True))
                    self._threads[-1].start()
            flight.passengers.append((ticket, passenger))

    def leave(self, ticket: int) -> Done | None:
        """Take one waiter off its flight; None where it has been answered already."""
        with self._change:
            for flight in self._under_way.values():
                for index, (other, passenger) in enumerate(flight.passengers):
                    if other == ticket:
                        del flight.passengers[index]
                        return passenger
        return None

    def waiting(self) -> int:
        """How many wait."""
        with self._change:
            return sum(len(flight.passengers) for flight in self._under_way.values())

    def expire(self) -> None:
        """Let go of everyone who has waited too long. To be called about once a second while somebody waits."""
        late: list[Done] = []
        with self._change:
            oldest = monotonic() - self._deadline
            if self._heard() > oldest:
                return
            for flight in self._under_way.values():
                if flight.boarded < oldest:
                    late.extend(passenger for _, passenger in flight.passengers)
                    flight.passengers.clear()
        for passenger in late:
            passenger(Stalled())

    def join(self, seconds: float) -> None:
        """After `close`, and after the services were closed: wait for the fetches that were under way, but not for long."""
        end = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - monotonic()))

    def close(self) -> None:
        """Start nothing more. Fetches under way go on."""
        with self._change:
            self._closed = True
            self._queue.clear()
            self._change.notify_all()

    def _next(self) -> _Flight | None:
        with self._change:
            while not self._queue:
                if self._closed:
                    return None
                self._idle += 1
                self._change.wait()
                self._idle -= 1
            return self._queue.popleft()

    def _work(self) -> None:
        while (flight := self._next()) is not None:
            landed: object
            try:
                landed = flight.fetch()
            except Exception as failure:
                landed = failure
            with self._change:
                del self._under_way[flight.key]
                passengers = flight.passengers
            for _, passenger in passengers:
                passenger(landed)
