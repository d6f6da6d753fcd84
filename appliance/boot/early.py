"""Forking the mount process as the first thing that PID 1 does.

What both need is imported before, once, and is in memory once; what only one of them needs, they import at the same time.
"""

from __future__ import annotations

import posix

from appliance.boot.mounting import serve


class Forked:
    """A process in `mounting.serve`, and this end of its two pipes."""

    __slots__ = ("answer", "pid", "start")

    def __init__(self, pid: int, start: int, answer: int) -> None:
        self.pid = pid
        self.start = start
        self.answer = answer


def fork_at_once() -> Forked | None:
    """Fork, unless the kernel found no console: descriptors 0 to 2 are free then, and not for pipes."""
    try:
        posix.fstat(2)
    except OSError:
        return None
    return fork()


def fork() -> Forked:
    """Run `mounting.serve` in a child."""
    start_read, start = posix.pipe2(posix.O_CLOEXEC)
    answer, answer_write = posix.pipe2(posix.O_CLOEXEC)
    pid = posix.fork()
    if pid:
        posix.close(start_read)
        posix.close(answer_write)
        return Forked(pid, start, answer)
    code = 1
    try:
        posix.close(start)
        posix.close(answer)
        serve(start_read, answer_write)
        code = 0
    finally:
        posix._exit(code)
