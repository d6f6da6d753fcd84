"""Runs a program out of a store: in namespaces of its own, with the store mounted at /nix/store, and nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import TYPE_CHECKING

from appliance.boot.process import restore_signals
from appliance.boot.syscalls import die_with_parent
from appliance.roles import namespace
from appliance.roles.mount import MountSpec
from appliance.roles.mount_child import MountChild
from tvix.errors import EX_UNAVAILABLE, TvixError
from tvix.nix_compat.store_path import STORE_DIR, split_store_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from tvix.nix_compat.signatures import VerifyingKey

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT)
_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""The terminal sends these to the program as well, since both are in its foreground process group."""


class ProgramNotFound(TvixError):
    """The program isn't in the store."""

    identifier = "run.program-not-found"
    message = "{program} is not in the store"
    hint = "`tvix store ls STORE_PATH` shows what is there; --store names another store"
    exit_code = 127


class ProgramNotRunnable(TvixError):
    """The kernel refuses to execute the program."""

    identifier = "run.program-not-runnable"
    message = "{program} can't be run: {reason}"
    exit_code = 126


class ProgramUnreadable(TvixError):
    """The store doesn't give the program away: it can't be reached, or what it sends is wrong."""

    identifier = "run.program-unreadable"
    message = "{program} can't be read: {reason}"
    hint = "check the address given with --store, and that the store is served there"
    exit_code = EX_UNAVAILABLE


def run_program(
    store: str,
    program: str,
    arguments: Sequence[str],
    trusted_keys: tuple[VerifyingKey, ...] = (),
    fields: Mapping[str, object] | None = None,
) -> int:
    """Run it, and say its exit status as a shell does: 128 + n where signal n ended it.

    `store` is an address, `program` a path inside a store path; with `trusted_keys`, nothing is visible but its closure as one of
    them has signed it. `fields` are others of the `MountSpec`. To be called in a process without threads, which ends soon after:
    it moves into the namespaces. Raises `InvalidStorePath`, `NamespaceRefused`, `ProgramNotFound`, `ProgramUnreadable`,
    `ProgramNotRunnable`, and what mounting raises.
    """
    path, _rest = split_store_path(program)
    namespace.enter()
    spec = MountSpec(store, STORE_DIR, listing=True, allow_other=True, uid=os.geteuid(), gid=os.getegid(), over=True)
    spec = spec._replace(profile=program, expected=path, **(fields or {}))  # type: ignore[arg-type]
    if trusted_keys:
        spec = spec._replace(closure=path, trusted_keys=trusted_keys)
    mount = MountChild(spec)
    try:
        _check(program)
        return _run([program, *arguments])
    finally:
        mount.stop()


def _check(program: str) -> None:
    try:
        os.stat(program)
    except (FileNotFoundError, NotADirectoryError):
        raise ProgramNotFound(program=program) from None
    except OSError as error:
        if error.errno == errno.EIO:
            raise ProgramUnreadable(program=program, reason=_last_error() or error.strerror) from None
        raise ProgramNotRunnable(program=program, reason=error.strerror) from None


def _last_error() -> str:
    """What the mount says was wrong: the kernel passes on no more than EIO."""
    from json import loads

    try:
        return str(loads(os.getxattr(STORE_DIR, "user.tvix.stats"))["lastError"])
    except (OSError, ValueError, KeyError):
        return ""


def _run(command: list[str]) -> int:
    failed, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(command, tell)
    os.close(tell)

    def forward(number: int, _frame: FrameType | None) -> None:
        os.kill(pid, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    for number in _TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    with open(failed, "rb") as stream:
        reason = stream.read()
    _, status = os.waitpid(pid, 0)
    if reason:
        failure = int(reason)
        text = os.strerror(failure)
        if failure == errno.ENOENT:
            text = "the interpreter that it names is not there"
        raise ProgramNotRunnable(program=command[0], reason=text)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _become(command: list[str], tell: int) -> None:
    try:
        restore_signals()
        die_with_parent(signal.SIGKILL)
        os.execve(command[0], command, _environment())
    except OSError as error:
        os.write(tell, str(error.errno).encode())
    finally:
        os._exit(126)


def _environment() -> dict[str, str]:
    """Ours, without what the frozen program sets for itself."""
    environment = dict(os.environ)
    if getattr(sys, "frozen", False):
        environment = {name: value for name, value in environment.items() if not name.startswith(("_PYI_", "_MEIPASS"))}
        original = environment.pop("LD_LIBRARY_PATH_ORIG", None)
        environment.pop("LD_LIBRARY_PATH", None)
        if original is not None:
            environment["LD_LIBRARY_PATH"] = original
    return environment
