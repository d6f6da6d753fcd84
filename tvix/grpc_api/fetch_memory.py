"""How much of what streams of `Fetch` have read for their clients may wait to be sent.

Frames are small and a stream has one of them on its way, so most need no permission. Large ones, which a chunk of 12 MiB makes,
share what there is: whoever finds no room puts back what it has read, and reads it again once there is. Clients that take nothing
fill that room at most, until their calls are ended, and hold up large frames only.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from threading import Condition, Semaphore

SMALL_BYTES = 1 << 20
"""A frame up to this size needs no room."""
SENDING_BYTES = 128 << 20
READING = 8
"""How many streams read from the store at a time: each may hold a frame and one chunk more while it does."""


class FetchMemory:
    """Shared by all streams of a server."""

    def __init__(self, limit: int = SENDING_BYTES) -> None:
        self._limit = limit
        self._used = 0
        self._condition = Condition()
        self._reading = Semaphore(READING)

    @property
    def reading(self) -> AbstractContextManager[object]:
        """To be held around reading a frame, and not while it is sent."""
        return self._reading

    @property
    def used(self) -> int:
        """How many bytes of large frames wait to be sent."""
        return self._used

    def try_take(self, size: int) -> bool:
        """Take room for a frame, if there is any. A frame larger than all of it has it alone."""
        with self._condition:
            if not self._fits(size):
                return False
            self._used += size
            return True

    def take(self, size: int) -> None:
        """The same; waits for room."""
        with self._condition:
            self._condition.wait_for(lambda: self._fits(size))
            self._used += size

    def give_back(self, size: int) -> None:
        """The frame was sent, or given up."""
        with self._condition:
            self._used -= size
            self._condition.notify_all()

    def _fits(self, size: int) -> bool:
        return not self._used or self._used + size <= self._limit
