"""How a command ends that didn't do what it was asked: one line and a hint on stderr, and an exit code. Never a traceback.

Exit codes beside those of `tvix.errors`: 70 for a bug of ours, 130 after Ctrl-C, 141 where the reader of our output went away.
"""

from __future__ import annotations

import os
import sys

from appliance.one_line import one_line
from tvix.errors import EX_IOERR, EX_NOINPUT, EX_TEMPFAIL, EX_UNAVAILABLE, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

EX_SOFTWARE = 70
"""The program has a bug."""
EX_INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT, as shells say it."""
EX_PIPE = 141
"""Nobody reads our output any more: 128 + SIGPIPE."""


class NotInThisBuild(TvixError):
    """Something that a frozen tree was made without."""

    identifier = "cli.not-in-this-build"
    message = "{what} is not in this build of tvix"
    hint = "the host build and a checkout's .venv/bin/tvix have everything"
    exit_code = EX_UNAVAILABLE


class SystemRefused(TvixError):
    """The operating system said no."""

    identifier = "cli.system-refused"
    message = "{place}{reason}"
    exit_code = EX_IOERR


class NotThere(TvixError):
    """A file that is to be read doesn't exist."""

    identifier = "cli.not-there"
    message = "{place}{reason}"
    exit_code = EX_NOINPUT


class OutOfMemory(TvixError):
    """There is not enough memory for what was asked."""

    identifier = "cli.out-of-memory"
    message = "out of memory"
    exit_code = EX_TEMPFAIL


class InternalError(TvixError):
    """A bug: an error that no part of the program expected."""

    identifier = "cli.internal-error"
    message = "this is a bug in tvix: {kind}: {reason} ({report})"
    hint = "please report it with that file; TVIX_DEBUG=1 shows the traceback at once"
    exit_code = EX_SOFTWARE


def report(error: BaseException, words: list[str], *, as_json: bool) -> int:
    """Tell a person, or with `as_json` a program, what went wrong; the answer is the exit code."""
    if isinstance(error, SystemExit):
        return _exit_status(error)
    if isinstance(error, BrokenPipeError):
        return close_output()
    if os.environ.get("TVIX_DEBUG") == "1":
        sys.excepthook(type(error), error, error.__traceback__)
    if isinstance(error, KeyboardInterrupt):
        return EX_INTERRUPTED
    known = as_tvix_error(error, words)
    try:
        print(_render_json(known) if as_json else render(known), file=sys.stderr, flush=True)
        sys.stdout.flush()
    except (OSError, ValueError):  # stderr is closed or full: the exit code has to do
        close_output()
    return known.exit_code


def as_tvix_error(error: BaseException, words: list[str]) -> TvixError:
    """The same as an error that can be shown; what nobody expected is written to a report file first."""
    if isinstance(error, TvixError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return _system_refused(error)
    if isinstance(error, MemoryError):
        return OutOfMemory()
    if isinstance(error, ModuleNotFoundError) and getattr(sys, "frozen", False):
        return NotInThisBuild(what=f"the module {error.name}, which this needs,")
    place = _write_report(error, words)
    where = f"report written to {place}" if place else "no report could be written"
    return InternalError(kind=type(error).__name__, reason=str(error)[:200], report=where)


def render(error: TvixError) -> str:
    """One line for what is wrong, one for what can be done. Control characters are shown, not obeyed."""
    lines = f"tvix: error: {one_line(str(error))}"
    return f"{lines}\ntvix: hint: {one_line(error.hint)}" if error.hint else lines


def error_object(error: TvixError) -> dict[str, object]:
    """What `--json` says of an error: `{"error": {identifier, message, hint, exitCode, fields}}`, on stderr."""
    fields = {name: value if isinstance(value, (int, str, type(None))) else str(value) for name, value in error.fields.items()}
    return {
        "error": {
            "identifier": error.identifier,
            "message": str(error),
            "hint": error.hint,
            "exitCode": error.exit_code,
            "fields": fields,
        }
    }


def close_output() -> int:
    """Let go of stdout, so that nothing more is tried on it when the interpreter ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        try:
            (sys.stdout if descriptor == 1 else sys.stderr).flush()
        except (OSError, ValueError):
            os.dup2(null, descriptor)
    os.close(null)
    return EX_PIPE


def _exit_status(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def _system_refused(error: OSError) -> TvixError:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    place = f"{' to '.join(names)}: " if names else ""
    kind = NotThere if isinstance(error, FileNotFoundError) else SystemRefused
    return kind(place=place, reason=error.strerror or str(error))


def _render_json(error: TvixError) -> str:
    import json

    return json.dumps(error_object(error))


def _write_report(error: BaseException, words: list[str]) -> Path | None:
    """Everything that helps to find the bug, in a file under the user's state directory; None where that can't be."""
    import platform
    import tempfile
    import traceback

    from appliance.cli.places import state_directory
    from tvix import VERSION

    lines = [
        f"tvix {VERSION}, Python {platform.python_version()}, {platform.platform()}",
        f"words: {words!r}",
        "",
        *traceback.format_exception(error),
    ]
    try:
        directory = state_directory() / "reports"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix="report-", suffix=".txt", dir=directory)
        with open(descriptor, "w", errors="backslashreplace") as file:
            file.write("\n".join(lines))
    except OSError:
        return None
    return directory / name
