"""Children of PID 1: forking, the environment they get, and reaping, which is PID 1's duty for every orphan of the machine."""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import NoReturn
else:
    import _signal

_PRIVATE = ("LD_LIBRARY_PATH", "_PYI_", "_MEIPASS")
PATH = "/usr/bin:/bin:/usr/sbin:/sbin"


class Reaper:
    """Collects every child that ends and remembers how those that matter did."""

    def __init__(self) -> None:
        self._watched: set[int] = set()
        self._ended: dict[int, int] = {}
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = read_end
        _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)
        _signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)

    def watch(self, pid: int) -> None:
        """Remember how this child ends."""
        self._watched.add(pid)

    def status(self, pid: int) -> int | None:
        """How a watched child ended, as the shell says it: its exit status, or 128 and the signal's number. None while it runs."""
        self._collect()
        return self._ended.get(pid)

    def wait(self, pid: int) -> int:
        """Wait for a watched child to end."""
        while (status := self.status(pid)) is None:
            self.wait_readable(None)
        return status

    def wait_readable(self, descriptor: int | None, deadline: float | None = None) -> bool:
        """Wait until a descriptor can be read (True), or a child has ended or `deadline` (monotonic) has passed (False)."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        ready = [found for found, _ in poll.poll(timeout)]
        self._collect()
        return descriptor in ready

    def _collect(self) -> None:
        try:  # noqa: SIM105 contextlib is one import more
            os.read(self._wake, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._watched:
                code = os.waitstatus_to_exitcode(status)
                self._ended[pid] = code if code >= 0 else 128 - code


def fork(body: Callable[[], None]) -> int:
    """Run `body` in a child, which exits when it returns: 0, or 1 after an exception, of which `body` should have told someone."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        restore_signals()
        body()
        code = 0
    finally:
        os._exit(code)


def spawn(arguments: list[str], *, terminal: str | None = None, path: str | None = None) -> int:
    """Start a program in a session of its own, on `terminal` where one is named.

    The caller has checked that it can be executed (`executable.check`): a failing exec is exit status 126.
    """

    def body() -> None:
        os.setsid()
        if terminal:
            descriptor = os.open(terminal, os.O_RDWR)  # the first terminal a session leader opens is the one that controls it
            for standard in range(3):
                os.dup2(descriptor, standard)
        try:
            execute(arguments, path)
        except OSError as error:
            os.write(2, f"{arguments[0]}: {error.strerror}\n".encode())
            os._exit(126)

    return fork(body)


def execute(arguments: list[str], path: str | None = None) -> NoReturn:
    """Become a program; `path` is the PATH it gets. Raises OSError."""
    os.execve(arguments[0], arguments, {**environment(), "PATH": path} if path else environment())


def environment() -> dict[str, str]:
    """What programs get: what the kernel gave PID 1, without what the frozen program needs for itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
    return {"PATH": PATH, "TERM": "linux", **kept, "HOME": "/root"}


def restore_signals() -> None:
    """Take back what Python and the reaper changed: ignored signals would stay ignored in every program that is executed."""
    _signal.set_wakeup_fd(-1)
    for number in (_signal.SIGCHLD, _signal.SIGINT, _signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
