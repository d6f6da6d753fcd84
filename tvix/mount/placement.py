"""Where the loop runs: on the processor of whoever asks, while one thread does all the asking.

Such a caller sleeps while it is answered, so nothing is gained by a second processor, and waking a thread on another one costs more
than answering most requests: a walk took three times as long. Once several ask at a time, the scheduler knows better.
"""

from __future__ import annotations

import os
from time import monotonic

PERIOD = 32
"""Requests between two looks at where the caller runs."""

_BUSY_SECONDS = 0.05
_PROCESSOR = 36
"""Field 39 of proc_pid_stat(5), counted from the first behind the name."""


class Placement:
    """Moves the thread that calls `look`, within the processors it was given."""

    def __init__(self) -> None:
        self._allowed = os.sched_getaffinity(0)
        self._caller = 0
        self._looked = 0.0
        self._on: int | None = None

    def look(self, caller: int) -> None:
        """To be called every `PERIOD` requests with the thread that sent the last."""
        now = monotonic()
        steady = caller == self._caller and caller != 0 and now - self._looked < _BUSY_SECONDS
        self._caller = caller
        self._looked = now
        self._move(_processor_of(caller) if steady else None)

    def leave(self) -> None:
        """Run anywhere: for a thread that was started by one which had been moved."""
        os.sched_setaffinity(0, self._allowed)

    def _move(self, processor: int | None) -> None:
        if processor not in self._allowed or len(self._allowed) == 1:
            processor = None
        if processor != self._on:
            os.sched_setaffinity(0, self._allowed if processor is None else {processor})
            self._on = processor


def _processor_of(thread: int) -> int | None:
    """Where a thread ran last, None where that can't be seen."""
    try:
        with open(f"/proc/{thread}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[_PROCESSOR])
    except (OSError, IndexError, ValueError):
        return None
