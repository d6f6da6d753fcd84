"""One sync for many callers who want what they wrote to be durable before they answer.

Every caller gets a sync that began after it asked; those who ask while one is running share the next. Many small uploads at once
then cost a few syncs instead of one each.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition


class GroupSync:
    """A callable around `sync`, which is never called twice at a time."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._condition = Condition()
        self._begun = 0
        self._done = 0
        self._running = False

    def __call__(self) -> None:
        """Return after a sync that began after this call. Raises what the sync raises, to whoever ran it; others run their own."""
        with self._condition:
            wanted = self._begun + 1
            while self._done < wanted:
                if self._running:
                    self._condition.wait()
                    continue
                self._running = True
                self._begun += 1
                self._run(self._begun)

    def _run(self, number: int) -> None:
        self._condition.release()
        succeeded = False
        try:
            self._sync()
            succeeded = True
        finally:
            self._condition.acquire()
            self._running = False
            if succeeded:
                self._done = number
            self._condition.notify_all()
