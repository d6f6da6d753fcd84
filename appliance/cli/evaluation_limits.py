"""Limits on the time and the memory of an evaluation that nobody vouches for.

Compiled code runs without ever giving a Python thread or a signal handler its turn, so limits are kept from outside: the process
that evaluates is a child, and its parent, which does nothing else, kills it when its time is up or its memory is too much. The
kernel refuses what it can by itself: a single request for more memory than is allowed, and processor time beyond the limit should
the parent be gone. Nothing of it costs the evaluation anything.
"""

from __future__ import annotations

import os
import time

from appliance.cli.light_words import usage_error, whole_number
from tvix.eval.errors import LimitExceeded
from tvix.eval.stack import STACK_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from appliance.cli.light_words import Words

_LOOK_EVERY = 0.02
"""Seconds between two looks at the child's memory."""
_FACTORS = {"K": 10, "M": 20, "G": 30, "T": 40}


def limits_of(given: Words, command: str) -> tuple[float | None, int | None]:
    """`--max-time` in seconds and `--max-memory` in bytes. Raises `UsageError`."""
    seconds, size = given.last("--max-time"), given.last("--max-memory")
    return None if seconds is None else _seconds(seconds, command), None if size is None else _bytes(size, command)


def _seconds(text: str, command: str) -> float:
    whole, _, fraction = text.partition(".")
    if (whole + fraction).isascii() and (whole + fraction).isdigit() and float(text) > 0:
        return float(text)
    raise usage_error(command, f"--max-time takes a number of seconds, not {text}")


def _bytes(text: str, command: str) -> int:
    factor = _FACTORS.get(text[-1:].upper(), 0)
    return whole_number(text[:-1] if factor else text, command, "--max-memory", text) << factor


def watch(seconds: float | None, memory: int | None) -> None:
    """From here on, only so much is allowed. Comes back in a child process; the parent ends as the child does.

    The parent raises `LimitExceeded`. Nothing happens without a limit.
    """
    if seconds is None and memory is None:
        return
    child = os.fork()
    if child == 0:
        _bound_by_the_kernel(seconds, memory)
        return
    from signal import SIG_IGN, SIGINT, SIGKILL, signal

    signal(SIGINT, SIG_IGN)  # the child gets it too, and how it ends is told below
    problem = _wait(child, seconds, memory)
    if problem:
        os.kill(child, SIGKILL)
    _, state = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(state)
    if not problem and memory is not None and -status in _DEATHS_OF_MEMORY:
        problem = _too_much(memory)
    if problem:
        raise LimitExceeded(problem)
    if status < 0:
        signal(-status, 0) if -status != SIGKILL else None
        os.kill(os.getpid(), -status)
    os._exit(status)


def _wait(child: int, seconds: float | None, memory: int | None) -> str:
    """Wait until the child has ended, or has to; the answer is why."""
    from select import POLLIN, poll

    ended = poll()
    ended.register(os.pidfd_open(child), POLLIN)
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        left = None if end is None else max(end - time.monotonic(), 0)
        pause = left if memory is None else _LOOK_EVERY if left is None else min(left, _LOOK_EVERY)
        if ended.poll(None if pause is None else pause * 1000):
            return ""
        if end is not None and time.monotonic() >= end:
            return f"the evaluation took longer than {seconds:g} seconds"
        if memory is not None and _resident(child) > memory:
            return _too_much(memory)


def _too_much(memory: int) -> str:
    return f"the evaluation needed more than {memory} bytes of memory"


def _resident(process: int) -> int:
    """Bytes of memory that a process has of its own."""
    try:
        with open(f"/proc/{process}/statm", "rb") as file:
            fields = file.read().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE


_PAGE = os.sysconf("SC_PAGE_SIZE")
_DEATHS_OF_MEMORY = (6, 7, 9, 11)
"""SIGABRT, SIGBUS, SIGKILL, SIGSEGV: how a process ends that is refused memory where it can't do without."""


def _bound_by_the_kernel(seconds: float | None, memory: int | None) -> None:
    from resource import RLIMIT_CORE, RLIMIT_CPU, RLIMIT_DATA, setrlimit

    setrlimit(RLIMIT_CORE, (0, 0))
    if seconds is not None:
        most = int(seconds) + 2
        setrlimit(RLIMIT_CPU, (most, most))
    if memory is not None:
        most = memory + STACK_BYTES + _SLACK
        setrlimit(RLIMIT_DATA, (most, most))


_SLACK = 64 << 20
"""Of what is mapped but not used."""
