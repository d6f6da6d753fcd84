"""Ends calls that stand still.

gRPC bounds how long a whole call may take, which is no bound for a stream of any length. This bounds each wait instead: one
thread for all waits of a channel or server, none while nothing waits, and nothing but the storing of a number in the way of every
message.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic
from types import TracebackType

_NEVER = float("inf")


class Watch:
    """One call's waits, of which at most one is going on. A context manager around the whole call."""

    __slots__ = ("_cancel", "_watchdog", "due", "expired")

    def __init__(self, watchdog: Watchdog, cancel: Callable[[], object]) -> None:
        self._watchdog = watchdog
        self._cancel = cancel
        self.due = _NEVER
        self.expired = False

    def begin(self, end: float = _NEVER) -> None:
        """A wait begins, which is over at `end` (of the monotonic clock) at the latest."""
        self.due = min(monotonic() + self._watchdog.limit, end)

    def end(self) -> None:
        """The wait is over."""
        self.due = _NEVER

    def expire(self) -> None:
        """Called by the watchdog when a wait took too long."""
        self.due = _NEVER
        self.expired = True
        self._cancel()

    def __enter__(self) -> Watch:
        self._watchdog.add(self)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._watchdog.remove(self)


class Watchdog:
    """Cancels whatever waits longer than `limit` seconds (a wait that begins late may take up to an eighth more)."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._condition = Condition()
        self._watches: set[Watch] = set()
        self._running = False

    def watch(self, cancel: Callable[[], object]) -> Watch:
        """A watch over a call that `cancel` ends."""
        return Watch(self, cancel)

    def add(self, watch: Watch) -> None:
        """Begin to look at a watch."""
        with self._condition:
            self._watches.add(watch)
            if not self._running:
                self._running = True
                Thread(target=self._run, name="watchdog", daemon=True).start()
            elif len(self._watches) == 1:
                self._condition.notify()

    def remove(self, watch: Watch) -> None:
        """Look no more."""
        with self._condition:
            self._watches.discard(watch)

    def expire_waiting(self, seconds: float) -> None:
        """Cancel whatever has waited that long already."""
        due = monotonic() - seconds + self.limit
        with self._condition:
            expired = [watch for watch in self._watches if watch.due <= due]
        for watch in expired:
            watch.expire()

    def _run(self) -> None:
        while True:
            with self._condition:
                if not self._watches and not self._condition.wait_for(lambda: self._watches, timeout=self.limit):
                    self._running = False
                    return
                soonest = min((watch.due for watch in self._watches), default=_NEVER)
                self._condition.wait(min(max(soonest - monotonic(), 0.001), self.limit / 8))
                now = monotonic()
                expired = [watch for watch in self._watches if watch.due <= now]
            for watch in expired:
                watch.expire()
