"""What a mount has done so far, in numbers."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATIONS = 64


class Counters:
    """Counts that only grow. Each is raised by one thread, or off by one at worst: they are for people."""

    __slots__ = ("bytes_fetched", "bytes_read", "errors", "last_error", "requests", "round_trips", "started")

    def __init__(self) -> None:
        self.started = time()
        self.requests = [0] * OPERATIONS
        """By operation code."""
        self.bytes_read = 0
        """Of file contents, given to the kernel."""
        self.bytes_fetched = 0
        """Of file contents and directories, taken from far."""
        self.round_trips = 0
        """Calls made to far."""
        self.errors = 0
        """Requests answered with EIO."""
        self.last_error = ""

    def as_json(self, operations: Mapping[int, str]) -> dict[str, object]:
        """The shape that status files and `tvix mount --stats` share; it only grows. `operations` names operation codes."""
        by_name = {operations.get(code, str(code)).lower(): count for code, count in enumerate(self.requests) if count}
        return {
            "v": 1,
            "started": self.started,
            "requests": by_name,
            "requestsTotal": sum(self.requests),
            "bytesRead": self.bytes_read,
            "bytesFetched": self.bytes_fetched,
            "roundTrips": self.round_trips,
            "errors": self.errors,
            "lastError": self.last_error,
        }
