"""The mount role in a child process: forked, ready or failed by a word down a pipe, ended by a signal."""

from __future__ import annotations

import os
import pickle
import signal
from typing import TYPE_CHECKING

from tvix.errors import EX_UNAVAILABLE, TvixError

if TYPE_CHECKING:
    from appliance.roles.mount import MountSpec

_READY = b"R"


class MountProcessDied(TvixError):
    """The mount process ended without saying why."""

    identifier = "mount.process-died"
    message = "the mount process ended before anything was mounted (wait status {status})"
    exit_code = EX_UNAVAILABLE


class MountChild:
    """A mount process; this process must have no threads yet. Raises what mounting raises."""

    def __init__(self, spec: MountSpec) -> None:
        answer, tell = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(answer)
            _serve(spec, tell)
        os.close(tell)
        with open(answer, "rb") as stream:
            message = stream.read()
        if message != _READY:
            _, status = os.waitpid(self.pid, 0)
            error = pickle.loads(message) if message else MountProcessDied(status=status)  # noqa: S301 - from our own child
            raise error

    def stop(self) -> None:
        """Unmount, and wait for the end of it."""
        try:
            os.kill(self.pid, signal.SIGTERM)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):  # it is gone already
            return


def _serve(spec: MountSpec, tell: int) -> None:
    """The child: a session of its own, so that Ctrl-C is the program's alone; silent, since its terminal is the program's."""
    code = 1
    try:
        os.setsid()

        def ready() -> None:
            os.write(tell, _READY)
            os.close(tell)
            null = os.open(os.devnull, os.O_RDWR)
            for standard in range(3):
                os.dup2(null, standard)

        from appliance.roles.mount import serve_mount

        serve_mount(spec, ready)
        code = 0
    except Exception as error:
        try:
            os.write(tell, pickle.dumps(error))
        except Exception:  # what can't be pickled, and what comes after the mount, is told by the exit status
            code = 70
    finally:
        os._exit(code)
