"""Waiting for the kernel's next request: awake for a moment, asleep after that.

Who asks one thing after the other sends the next request within microseconds of a reply. Waking a thread that sleeps on another
processor costs more than answering most requests (in a virtual machine 20 µs and more), so the loop stays awake a little, and does
what can be done ahead. With a single processor that would only keep the caller from running: there it sleeps at once.

Where a connection lives in the same thread, being awake includes looking at it, and sleeping ends when it has something to say.
"""

from __future__ import annotations

import errno
import os
import select
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from tvix.mount.source import Polled

AWAKE_SECONDS = 0.0002
LOOK_SECONDS = 1.0
"""How often those who wait are looked at."""
_REQUESTS_IN_A_ROW = 8
"""While requests come without a break, the connection is looked at after so many."""

_TAKEN_BACK = (errno.ENOENT, errno.EINTR)  # whoever asked gave up before the request was read


class RequestReader:
    """Reads requests from `device` into one buffer. `idle` does a little work ahead and says whether there was any."""

    def __init__(self, device: int, buffer: bytearray, idle: Callable[[], bool], awake: float | None = None) -> None:
        self._device = device
        self._buffers = [buffer]
        self._idle = idle
        if awake is None:
            awake = AWAKE_SECONDS if len(os.sched_getaffinity(0)) > 1 else 0.0
        self._awake = awake
        os.set_blocking(device, awake == 0.0)

    def read(self) -> int:
        """The length of the next request, or 0 when there will be none. Raises OSError where the device fails otherwise."""
        device, buffers, readv = self._device, self._buffers, os.readv
        until = 0.0
        while True:
            try:
                return readv(device, buffers)
            except BlockingIOError:
                now = monotonic()
                if not until:
                    until = now + self._awake
                if now < until:
                    self._idle()
                else:
                    self._sleep()
            except OSError as failure:
                if failure.errno == errno.ENODEV:
                    return 0
                if failure.errno not in _TAKEN_BACK:
                    raise

    def _sleep(self) -> None:
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.poll()


class Attended:
    """A connection, and the requests that wait for it: now and then `let_go` gives up those whose callers live no longer."""

    def __init__(self, polled: Polled, waiting: Collection[int], let_go: Callable[[], None]) -> None:
        self._polled = polled
        self._waiting = waiting
        self._let_go = let_go
        self._look = 0.0

    @property
    def waits(self) -> bool:
        """See `Polled`."""
        return self._polled.waits

    def descriptors(self) -> Iterable[tuple[int, int]]:
        """See `Polled`."""
        return self._polled.descriptors()

    def timeout(self) -> float | None:
        """See `Polled`."""
        seconds = self._polled.timeout()
        if not self._waiting:
            return seconds
        return LOOK_SECONDS if seconds is None else min(seconds, LOOK_SECONDS)

    def turn(self) -> bool:
        """See `Polled`."""
        if self._waiting and (now := monotonic()) >= self._look:
            self._look = now + LOOK_SECONDS
            self._let_go()
        return self._polled.turn()


class PollingReader:
    """As `RequestReader`, with a connection that is served in between."""

    def __init__(
        self, device: int, buffer: bytearray, idle: Callable[[], bool], polled: Polled, awake: float | None = None
    ) -> None:
        self._device = device
        self._buffers = [buffer]
        self._idle = idle
        self._polled = polled
        if awake is None:
            awake = AWAKE_SECONDS if len(os.sched_getaffinity(0)) > 1 else 0.0
        self._awake = awake
        self._row = 0
        self._registered: tuple[tuple[int, int], ...] = ()
        self._poll = select.poll()
        self._poll.register(device, select.POLLIN)
        os.set_blocking(device, False)

    def read(self) -> int:
        """See `RequestReader`."""
        device, buffers, readv, turn = self._device, self._buffers, os.readv, self._polled.turn
        self._row += 1
        if self._row >= _REQUESTS_IN_A_ROW:
            self._row = 0
            if self._polled.waits:
                turn()
        until = 0.0
        while True:
            try:
                return readv(device, buffers)
            except BlockingIOError:
                self._row = 0
                now = monotonic()
                if turn():
                    until = now + self._awake  # its answers lead to requests
                    continue
                if not until:
                    until = now + self._awake
                if now < until:
                    self._idle()
                else:
                    self._sleep()
                    until = 0.0
            except OSError as failure:
                if failure.errno == errno.ENODEV:
                    return 0
                if failure.errno not in _TAKEN_BACK:
                    raise

    def _sleep(self) -> None:
        poll = self._poll
        wanted = tuple(self._polled.descriptors())
        if wanted != self._registered:
            for descriptor, _ in self._registered:
                poll.unregister(descriptor)
            for descriptor, events in wanted:
                poll.register(descriptor, events)
            self._registered = wanted
        seconds = self._polled.timeout()
        if seconds is None:
            poll.poll()
        elif seconds > 0:
            poll.poll(int(seconds * 1000) + 1)
