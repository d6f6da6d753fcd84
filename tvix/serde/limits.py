"""Limits on the time and the memory of a load.

Compiled code runs without giving a thread or a signal handler its turn. With limits, a load therefore happens in a child process,
which this one watches and kills when it goes too far; the result comes back pickled, so its classes have to be importable by name.
Builtins of the host run in the child: what they change in the program stays there. A process with threads that hold locks had
better load before it starts them, or without limits.
"""

from __future__ import annotations

import os
import time

from tvix.errors import TvixError
from tvix.eval.errors import LimitExceeded, StackOverflow
from tvix.eval.stack import STACK_BYTES
from tvix.serde.errors import UnsupportedSchema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_EVERY = 0.02
"""Seconds between two looks at the child's memory."""
_PIECE = 1 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SLACK = 64 << 20
"""Of what is mapped but not used."""


class Limits:
    """`seconds` of time and `memory` in bytes, each without a limit where it is None. Memory of before doesn't count."""

    __slots__ = ("memory", "seconds")

    def __init__(self, *, seconds: float | None = None, memory: int | None = None) -> None:
        self.seconds = seconds
        self.memory = memory


def within(limits: Limits, work: Callable[[], object]) -> object:
    """The result of `work`, or its error. Raises `LimitExceeded`."""
    from tvix.serde.evaluation import ONE_AT_A_TIME

    reader, writer = os.pipe()
    with ONE_AT_A_TIME:  # no other thread holds it while this one is copied
        child = os.fork()
        if child == 0:
            os.close(reader)
            _child(writer, limits, work)
    os.close(writer)
    try:
        answer = _wait(child, reader, limits)
    finally:
        os.close(reader)
        _end(child)
    if not answer:
        raise LimitExceeded("the evaluation ended without a result" if limits.memory is None else _too_much(limits.memory))
    import pickle

    good, result = pickle.loads(answer)  # noqa: S301  # our own process wrote it
    if good:
        return result
    raise result


def _child(writer: int, limits: Limits, work: Callable[[], object]) -> None:
    """Do the work, write what came of it, and end."""
    status = 1
    try:
        _bound_by_the_kernel(limits)
        answer = _answer(limits, work)
        while answer:
            answer = answer[os.write(writer, answer) :]
        status = 0
    except BaseException:  # whatever it is, the child must not run the parent's code
        status = 1
    finally:
        os._exit(status)


def _answer(limits: Limits, work: Callable[[], object]) -> bytes:
    import pickle

    try:
        result = True, work()
    except MemoryError:
        if limits.memory is None:
            raise
        result = False, LimitExceeded(_too_much(limits.memory))
    except Exception as error:
        result = False, error
    try:
        return pickle.dumps(result)
    except RecursionError:
        return pickle.dumps((False, StackOverflow("the value is nested too deeply to be handed over")))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        problem: TvixError = UnsupportedSchema(where="limits", reason=f"what is loaded comes from another process, and {error}")
        return pickle.dumps((False, problem))


def _wait(child: int, reader: int, limits: Limits) -> bytes:
    """All that the child writes."""
    from select import POLLIN, poll

    ready = poll()
    ready.register(reader, POLLIN)
    end = None if limits.seconds is None else time.monotonic() + limits.seconds
    pieces: list[bytes] = []
    inherited = _resident(child)
    while True:
        left = None if end is None else max(end - time.monotonic(), 0)
        pause = left if limits.memory is None else _LOOK_EVERY if left is None else min(left, _LOOK_EVERY)
        if ready.poll(None if pause is None else pause * 1000):
            piece = os.read(reader, _PIECE)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
        if end is not None and time.monotonic() >= end:
            raise LimitExceeded(f"the evaluation took longer than {limits.seconds:g} seconds")
        if limits.memory is not None and _resident(child) - inherited > limits.memory:
            raise LimitExceeded(_too_much(limits.memory))


def _end(child: int) -> None:
    """Whatever it still does, it is no use any more."""
    from signal import SIGKILL

    os.kill(child, SIGKILL)
    os.waitpid(child, 0)


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


def _bound_by_the_kernel(limits: Limits) -> None:
    """What it can see to by itself, should this process's parent be gone."""
    from resource import RLIMIT_CORE, RLIMIT_CPU, RLIMIT_DATA, setrlimit

    setrlimit(RLIMIT_CORE, (0, 0))
    if limits.seconds is not None:
        used = time.process_time()
        most = int(limits.seconds + used) + 2
        setrlimit(RLIMIT_CPU, (most, most))
    if limits.memory is not None:
        with open("/proc/self/statm", "rb") as file:
            inherited = int(file.read().split()[5]) * _PAGE
        most = inherited + limits.memory + STACK_BYTES + _SLACK
        setrlimit(RLIMIT_DATA, (most, most))
