"""Several server processes for one store: a parent that binds, forks, restarts who dies, and passes signals on.

Python runs one thread at a time, so a second core serves nobody unless there is a second process. All of them listen on the same
ports (SO_REUSEPORT: the kernel deals connections out) and share the listening sockets of framed Unix addresses; gRPC can't take a
socket that others made, so its Unix addresses are the first process's alone. The parent neither loads gRPC nor starts a thread: it
may fork at any time.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NoReturn

from tvix.errors import EX_IOERR, EX_UNAVAILABLE, EX_USAGE, TvixError
from tvix.events import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from socket import socket

    from tvix.events import Emit
    from tvix.grpc_api.policy import Listen

STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_YOUNG_SECONDS = 5.0
_DEATHS_MAX = 5
_READY = b"ready"
_ANSWER_BYTES_MAX = 1 << 20


class ProcessesNeedPack(TvixError):
    """A store that several processes can't have open at a time."""

    identifier = "store.processes-need-pack"
    message = "{store} can't be served by several processes"
    hint = "pack: stores can; leave out --processes for others"
    exit_code = EX_USAGE


class ServerDies(TvixError):
    """A server process that ends as soon as it is started, again and again."""

    identifier = "store.server-dies"
    message = "a server process ended {count} times soon after its start, the last time with {how}"
    hint = "its errors stand above; kernel messages say whether memory ran out"
    exit_code = EX_UNAVAILABLE


class ServerEndedBadly(TvixError):
    """A server process that was told to stop and failed at that: what it wrote last may not be durable."""

    identifier = "store.server-ended-badly"
    message = "a server process that was told to stop ended with {how}"
    hint = "`tvix store verify` says whether the store is whole"
    exit_code = EX_IOERR


class Processes:
    """`serve(listens, inherited, ready)` serves in a child until SIGTERM."""

    def __init__(
        self,
        count: int,
        serve: Callable[[Sequence[Listen], Mapping[Listen, socket], Callable[[], None]], None],
        emit: Emit,
        grace: float,
    ) -> None:
        self._count = count
        self._serve = serve
        self._emit = emit
        self._grace = grace
        self._listens: list[Listen] = []
        self._inherited: dict[Listen, socket] = {}
        self._held: list[socket] = []
        self._children: dict[int, tuple[int, float]] = {}
        self._deaths = 0

    def run(self, listens: Sequence[Listen], ready: Callable[[Sequence[Listen]], object]) -> None:
        """Until a signal says stop. STOP and SIGCHLD are blocked when this is called. Raises what starting to serve raises."""
        self._bind(listens)
        try:
            for number in range(self._count):
                self._start(number)
            ready(self._listens)
            self._supervise()
        finally:
            badly = self._stop()
        if badly:
            raise ServerEndedBadly(how=badly)

    def _bind(self, listens: Sequence[Listen]) -> None:
        from tvix.grpc_api.sockets import bind_framed, reserve

        for listen in listens:
            if not listen.path:
                held, bound = reserve(listen)
                self._held.append(held)
                self._listens.append(bound)
                continue
            self._listens.append(listen)
            if listen.framed:
                self._inherited[listen], _bound = bind_framed(listen, 0o600)

    def _start(self, number: int) -> None:
        """Fork, and wait until the child serves."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            self._child(number, writing)
        os.close(writing)
        self._children[child] = (number, monotonic())
        with open(reading, "rb") as pipe:
            answer = pipe.read(_ANSWER_BYTES_MAX)
        if answer != _READY:
            self._children.pop(child)
            _pid, status = os.waitpid(child, 0)
            if answer:
                raise pickle.loads(answer)  # noqa: S301  # from our own child
            raise ServerDies(count=1, how=_how(status))

    def _child(self, number: int, writing: int) -> NoReturn:
        from appliance.boot.syscalls import die_with_parent

        status = 1
        pipe = writing
        try:
            die_with_parent(signal.SIGTERM)
            listens = [listen for listen in self._listens if number == 0 or listen.framed or not listen.path]

            def ready() -> None:
                nonlocal pipe
                os.write(writing, _READY)
                os.close(writing)
                pipe = -1

            self._serve(listens, self._inherited, ready)
            status = 0
        except Exception as error:
            if pipe >= 0:
                os.write(pipe, pickle.dumps(error))
            else:
                Operation(self._emit, "server", process=number).log(f"process {number}: {error}")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _supervise(self) -> None:
        while signal.sigwait((*STOP, signal.SIGCHLD)) == signal.SIGCHLD:
            while (found := _reap()) is not None:
                child, status = found
                number, begun = self._children.pop(child, (-1, 0.0))
                if number < 0:
                    continue
                self._deaths = self._deaths + 1 if monotonic() - begun < _YOUNG_SECONDS else 1
                if self._deaths >= _DEATHS_MAX:
                    raise ServerDies(count=self._deaths, how=_how(status))
                Operation(self._emit, "server", process=number).log(f"process {number} ended with {_how(status)}: started anew")
                self._start(number)

    def _stop(self) -> str:
        """Tell the children, wait for them, and end those that don't end; how the worst of them ended, empty where all did well."""
        badly = ""
        for child in self._children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        end = monotonic() + self._grace + 5
        while self._children and monotonic() < end:
            signal.sigtimedwait((signal.SIGCHLD,), 0.2)
            while (found := _reap()) is not None:
                self._children.pop(found[0], None)
                badly = _how(found[1]) if found[1] else badly
        for child in self._children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            badly = "SIGKILL"
        for listen, listening in self._inherited.items():
            listening.close()
            with suppress(OSError):
                os.unlink(listen.path)
        for held in self._held:
            held.close()
        return badly


def _reap() -> tuple[int, int] | None:
    try:
        child, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (child, status) if child else None


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"status {os.WEXITSTATUS(status)}"
