"""What Nix says of programs, in a form to compare with ours: the value as `:p` of the repl prints it, or the trace as
tests/lang has it.

The repl goes on after an error, so one process answers for many programs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tvix.eval.error_report import render
from tvix.eval.errors import EvalError
from tvix.eval.evaluator import Evaluator, Settings
from tvix.eval.io_files import FileIO
from tvix.eval.printing import UNLIMITED, print_for_repl
from tvix.eval.stack import on_deep_stack

if TYPE_CHECKING:
    from pathlib import Path

    from tvix.testing.stock_nix import StockNix

DIED: Final = "the process died"
_PROMPT: Final = "nix-repl> "
_ASK: Final = ":p import ./"
"""Relative, since the repl scrolls a line of more than 80 characters."""
_REPL: Final = (
    "env",
    "NO_COLOR=1",
    "nix",
    "--show-trace",
    "--extra-experimental-features",
    "pipe-operators flakes",
    "repl",
    "--store",
    "dummy://",
)
_NO_FRAME: Final = re.compile(r"… while (calling the 'import' builtin @1:1|evaluating the file '.*':)$")
_WARNING: Final = re.compile(r"warning: at .*? uses `or` as an identifier .*?11121\n", re.DOTALL)
"""About `f or`: C++ Nix warns when it reads that."""
_COLOR: Final = re.compile("\x1b\\[[0-9;]*m")


def trace_of(output: str) -> str:
    """An error with its frames as Nix prints it, in the form of tests/lang: `@LINE:COLUMN` behind what has a place."""
    lines = ["trace:"]
    for line in output.split("\n"):
        place = re.match(r"\s+at .*:(\d+:\d+):$", line)
        if place:
            lines[-1] += f" @{place[1]}"
        elif line.strip() not in {"", "error:"} and not re.match(r"\s*\d*\|", line):
            lines.append(line.strip())
    return "\n".join(lines)


def theirs(nix: StockNix, files: list[Path]) -> dict[Path, str]:
    """What Nix answers about each file, all in one directory. Where a process dies on one, the next goes on behind it."""
    answers: dict[Path, str] = {}
    left = files
    while left:
        questions = "".join(f"{_ASK}{file.name}\n" for file in left)
        done = nix.try_run("sh", "-c", 'cd "$1"; shift; exec "$@" 2>&1', "sh", left[0].parent, *_REPL, stdin=questions.encode())
        output = _WARNING.sub("", _COLOR.sub("", done.stdout.decode(errors="backslashreplace")))
        for part in output.split(_PROMPT + _ASK)[1:]:
            name, _, answer = part.partition("\n")
            answers[left[0].parent / name] = _told(answer.rstrip().removesuffix(_PROMPT.rstrip()).rstrip())
        unanswered = [file for file in left if file not in answers]
        if unanswered == left:  # it isn't that the file before ended in the midst of something, which the next one then completed
            answers[left[0]] = DIED
            del unanswered[0]
        left = unanswered
    return answers


def _told(answer: str) -> str:
    """The answer without the frames that are about the question, and without the bracket that the repl printed before an error."""
    if not answer.startswith(("error:", "[error:", "{error:")) and "\nerror:" not in answer:
        return answer
    lines = trace_of(answer).split("\n")
    kept = [line for line in lines if not _NO_FRAME.match(line) and line not in {"[", "{"}]
    error = next((index for index, line in enumerate(kept) if line.startswith("error:")), 0)
    if not error:
        return "\n".join([*kept, "error:"])
    return "\n".join(kept[: error + 1])


def ours(file: Path, home: Path) -> str:
    """The same from our evaluator."""
    settings = Settings()
    settings.home = str(home)
    evaluator = Evaluator(FileIO(), settings)

    def evaluate() -> str:
        with evaluator.session():
            try:
                value = evaluator.file(str(file))
                text = str(value) if isinstance(value, str) else print_for_repl(value, UNLIMITED)
            except EvalError as error:
                text = render(error, evaluator.sources, evaluator.io, show_trace=True, color=False)
                return _told(_readable(text))
            return _readable(text).rstrip()

    return on_deep_stack(evaluate)


def _readable(text: str) -> str:
    return text.encode("latin-1").decode(errors="backslashreplace")
