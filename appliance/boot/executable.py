"""Whether a program could be executed, asked before it is: exec's own answer names neither the interpreter nor the reason."""

from __future__ import annotations

import os
import stat
import struct

from tvix.errors import EX_DATAERR, EX_NOINPUT, EX_NOPERM, TvixError

_PT_INTERP = 3
_DEEPEST = 5  # interpreters of interpreters; the kernel's own limit


class NoSuchProgram(TvixError):
    """There is nothing of that name."""

    identifier = "boot.no-such-program"
    message = "{path} is not there"
    hint = "is it in the closure that tvix.root or tvix.closure names? tvix.find lists what is"
    exit_code = EX_NOINPUT


class NotExecutable(TvixError):
    """It is there and can't be executed."""

    identifier = "boot.not-executable"
    message = "{path} can't be executed: {reason}"
    exit_code = EX_NOPERM


class NoInterpreter(TvixError):
    """The loader or interpreter that a program names is missing where it would be looked for."""

    identifier = "boot.no-interpreter"
    message = "{path} needs {interpreter}, which is not in {where}"
    hint = "the closure has to hold the program's loader or interpreter too: was it built by Nix?"
    exit_code = EX_DATAERR


def check(path: str, within: str = "/") -> None:
    """Check that `path` and what interprets it exist, are executable, and lie below `within` once links are followed.

    Raises `NoSuchProgram`, `NotExecutable`, `NoInterpreter`, OSError.
    """
    program = path
    for _ in range(_DEEPEST):
        _check_one(program, path, within)
        interpreter = _interpreter(program)
        if interpreter is None:
            return
        program = interpreter
    raise NotExecutable(path=path, reason="its interpreters need interpreters without end")


def _check_one(program: str, path: str, within: str) -> None:
    try:
        mode = os.stat(program).st_mode
        inside = os.path.realpath(program).startswith(within)
    except (FileNotFoundError, NotADirectoryError):
        mode, inside = 0, False
    if not inside:
        if program == path:
            raise NoSuchProgram(path=path)
        raise NoInterpreter(path=path, interpreter=program, where=within)
    if not stat.S_ISREG(mode):
        raise NotExecutable(path=program, reason="it is not a file")
    if not mode & 0o111:
        raise NotExecutable(path=program, reason="it is not marked executable")


def _interpreter(program: str) -> str | None:
    """What the kernel will load beside a program, or None."""
    with open(program, "rb", buffering=0) as stream:
        head = stream.read(4096)
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n", 1)[0].split()
            if not words:
                raise NotExecutable(path=program, reason="its #! line names nothing")
            return os.fsdecode(words[0])
        if not head.startswith(b"\x7fELF"):
            raise NotExecutable(path=program, reason="it is neither ELF nor a script with #!")
        if len(head) < 64 or head[4:6] != b"\x02\x01":
            raise NotExecutable(path=program, reason="it is not a 64-bit little-endian ELF file")
        offset, size, count = *struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54)
        stream.seek(offset)
        table = stream.read(size * count)
        for number in range(len(table) // size if size >= 56 else 0):
            kind, _, place, _, _, length = struct.unpack_from("<IIQQQQ", table, number * size)
            if kind == _PT_INTERP:
                stream.seek(place)
                return os.fsdecode(stream.read(min(length, 4096)).rstrip(b"\0"))
    return None
