"""A thread whose stack is deep enough for deeply nested programs: compiled code recurses on the C stack, which nothing checks."""

from __future__ import annotations

import _thread
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    T = TypeVar("T")

STACK_BYTES: Final = 1 << 30
"""Of address space; memory is only taken where the stack really grows."""


def on_deep_stack(work: Callable[[], T], size: int = STACK_BYTES) -> T:
    """The result of `work`, which runs in a thread of its own; what it raises is raised here. Signals wait until it is done.

    Meanwhile the interpreter's recursion limit is so high that it doesn't count; afterwards it is what it was.
    """
    done = _thread.allocate_lock()
    done.acquire()
    results: list[T] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # it is raised again by who waits
            problems.append(error)
        finally:
            done.release()

    _LIMIT.lift()
    try:
        before = _thread.stack_size(size)
        try:
            _thread.start_new_thread(run, ())
        finally:
            _thread.stack_size(before)
        done.acquire()
    finally:
        _LIMIT.put_back()
    if problems:
        raise problems[0]
    return results[0]


_PYTHON_FRAMES: Final = 10_000_000
"""Uncompiled, each level takes frames of the interpreter, which are bounded by `values.MACHINE` instead."""


class _RecursionLimit:
    """The interpreter has one for all threads, so the last one that needs it lifted puts it back."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._users = 0
        self._before = 0

    def lift(self) -> None:
        """One more thread has a deep stack."""
        with self._lock:
            if not self._users:
                self._before = sys.getrecursionlimit()
                sys.setrecursionlimit(max(self._before, _PYTHON_FRAMES))
            self._users += 1

    def put_back(self) -> None:
        """It has ended."""
        with self._lock:
            self._users -= 1
            if not self._users:
                sys.setrecursionlimit(self._before)


_LIMIT: Final = _RecursionLimit()
