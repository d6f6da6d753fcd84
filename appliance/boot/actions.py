"""What a boot is for, once the store is mounted: run a program, give a shell, list the files."""

from __future__ import annotations

import os

from appliance.boot import executable, process
from tvix.errors import EX_NOINPUT, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.boot.process import Reaper

STORE = "/nix/store"
_SHELLS = ("bash", "sh")
_ACTIVE_TERMINALS = "/sys/class/tty/console/active"
_BATCH = 1 << 16


class NoShell(TvixError):
    """`tvix.shell`, and no shell in sight."""

    identifier = "boot.no-shell"
    message = "no store path in {store} has a bin/bash or bin/sh"
    hint = "add a shell to the closure, or run a program of it with tvix.run="
    exit_code = EX_NOINPUT


def run(command: str, reaper: Reaper) -> int:
    """Run `PROGRAM ARGS`, split at blanks, and wait for it. Returns its exit status, 128 + N for signal N.

    Raises the errors of `executable.check`, OSError.
    """
    arguments = command.split()
    executable.check(arguments[0])
    pid = process.spawn(arguments)
    reaper.watch(pid)
    return reaper.wait(pid)


def shell(reaper: Reaper) -> int:
    """An interactive shell on the console, with every bin directory of the store in its PATH. Raises `NoShell`, OSError."""
    binaries = [f"{STORE}/{name}/bin" for name in sorted(os.listdir(STORE)) if os.path.isdir(f"{STORE}/{name}/bin")]
    found = [f"{directory}/{name}" for name in _SHELLS for directory in binaries if os.path.exists(f"{directory}/{name}")]
    if not found:
        raise NoShell(store=STORE)
    executable.check(found[0])
    pid = process.spawn([found[0]], terminal=_terminal(), path=":".join(binaries))
    reaper.watch(pid)
    return reaper.wait(pid)


def find(descriptor: int = 1) -> int:
    """Write every path of the store, one a line, parents before what they hold, sorted. Returns how many. Raises OSError."""
    count = 0
    batch = bytearray()
    for path in _walk(STORE.encode()):
        batch += path + b"\n"
        count += 1
        if len(batch) >= _BATCH:
            _write_all(descriptor, batch)
            batch.clear()
    _write_all(descriptor, batch)
    return count


def _walk(top: bytes) -> Iterator[bytes]:
    """Directories are known from the listing that names them: nothing is asked about by itself."""
    waiting = [(top, True)]
    while waiting:
        path, is_directory = waiting.pop()
        yield path
        if is_directory:
            with os.scandir(path) as entries:
                found = [(path + b"/" + entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            waiting += sorted(found, reverse=True)


def _terminal() -> str:
    """The device behind /dev/console, which itself can't control a session."""
    with open(_ACTIVE_TERMINALS, encoding="utf-8") as stream:
        names = stream.read().split()
    return f"/dev/{names[-1]}" if names else "/dev/console"


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
