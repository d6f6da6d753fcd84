"""The console lines of PID 1: `tvix ` and one JSON object each, for people and for tests.

Every line has `t` (seconds since the kernel started), `step` (one of `STEPS`) and `state` (`start`, `ok`, `fail`), then the
step's own fields, then `error` where it failed. The last line of a boot has no state: `{"t":…,"step":"end","outcome":…,"exit":N}`.
The lines are kept for the rescue prompt.
"""

from __future__ import annotations

import os
import time

from tvix.errors import TvixError
from tvix.json_text import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    State = Literal["start", "ok", "fail"]

STEPS = (
    "mounts",
    "command-line",
    "clock",
    "modules",
    "network",
    "mount",
    "run",
    "find",
    "shell",
    "hand-over",
    "stats",
    "rescue",
    "internal",
    "end",
)
"""The closed list, in the order in which a boot may go through them."""

OUTCOMES = ("ok", "program-failed", "failed", "handed-over")
"""What the end line may say: it worked; the program ran and its exit status isn't 0; a step failed; init has the machine now."""

MARK = "tvix "
_KEPT = 1000


class Console:
    """Writes lines to a descriptor and remembers them."""

    def __init__(self, descriptor: int = 1) -> None:
        self.debug = False
        """Whether notes are shown as well as kept."""
        self._descriptor = descriptor
        self._midway = False
        self.lines: list[str] = []

    def step(self, step: str, state: State, **fields: object) -> None:
        """Say that a step starts, worked or failed."""
        self._write({"step": step, "state": state, **fields})

    def failed(self, step: str, error: BaseException, **fields: object) -> None:
        """Say that a step failed, with the reason and what to do about it."""
        told: dict[str, object] = {"error": describe(error), **fields}
        if isinstance(error, TvixError):
            told["id"] = error.identifier
            if error.hint:
                told["hint"] = error.hint
        self.step(step, "fail", **told)

    def end(self, outcome: str, code: int) -> None:
        """The last line of a boot."""
        self._write({"step": "end", "outcome": outcome, "exit": code})

    def note(self, text: str) -> None:
        """A detail, for `tvix.debug` and for the rescue prompt's log."""
        line = f"# {round(_now(), 3)} {text}"
        self._keep(line)
        if self.debug:
            self.say(f"{line}\n")

    def shared(self) -> None:
        """Someone else is going to write: the next line must not continue theirs."""
        self._midway = True

    def say(self, text: str) -> None:
        """Plain text, for the rescue prompt."""
        _write_all(self._descriptor, text.encode("utf-8", "replace"))
        self._midway = not text.endswith("\n")

    def _keep(self, line: str) -> None:
        self.lines.append(line)
        del self.lines[:-_KEPT]

    def _write(self, record: dict[str, object]) -> None:
        line = MARK + to_json({"t": round(_now(), 3), **record})
        self._keep(line)
        lead = "\n" if self._midway else ""
        self._midway = False
        _write_all(self._descriptor, f"{lead}{line}\n".encode("ascii"))


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def describe(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(str(error).split())
    return text if isinstance(error, TvixError) else f"{type(error).__name__}: {text}"


def _write_all(descriptor: int, data: bytes) -> None:
    """A console that is gone must not end PID 1."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return
