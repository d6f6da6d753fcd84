"""Every program of this directory gives what is written below it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tvix.eval.deep import force_deeply
from tvix.eval.errors import EvalError
from tvix.eval.evaluator import Evaluator, Settings
from tvix.eval.io import NoIO
from tvix.eval.positions import line_and_column, offset_of
from tvix.eval.printing import print_value
from tvix.eval.stack import on_deep_stack
from tvix.testing.language import PROGRAM, all_chunks

if TYPE_CHECKING:
    from tvix.eval.io import FileKind
    from tvix.testing.language import Chunk


class OneFile(NoIO):
    """There is nothing but the program."""

    def __init__(self, program: str) -> None:
        self.program = program

    def kind(self, path: str) -> FileKind | None:
        return "regular" if path == PROGRAM else None

    def read(self, path: str) -> bytes:
        assert path == PROGRAM
        return self.program.encode()


def outcome(program: str, settings: Settings | None = None) -> tuple[str, str]:
    """The value as text, or the error with its whole trace, and its message alone."""
    evaluator = Evaluator(OneFile(program), settings)

    def evaluate() -> tuple[str, str]:
        with evaluator.session():
            try:
                text = print_value(force_deeply(evaluator.main_file(PROGRAM)))
            except EvalError as error:
                return _trace(error, program), f"error: {_utf8(error.detail)}"
            return _utf8(text), ""

    return on_deep_stack(evaluate)


def _trace(error: EvalError, program: str) -> str:
    frames = [(at, text) for at, text, _ in reversed(error.frames) if text]
    lines = [f"… {_utf8(text)}{_place(at, program)}" for at, text in frames]
    lines.append(f"error: {_utf8(error.detail)}{_place(error.position, program)}")
    if error.suggestions:
        lines.append(f"Did you mean {_one_of([_utf8(name) for name in error.suggestions])}?")
    return "\n".join(["trace:", *lines])


def _one_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names[:-1])} or {names[-1]}"


def _place(position: int, program: str) -> str:
    if not position:
        return ""
    line, column = line_and_column(program.encode().decode("latin-1"), offset_of(position))
    return f" @{line}:{column}"


def _utf8(text: str) -> str:
    return text.encode("latin-1").decode(errors="backslashreplace")


@pytest.mark.parametrize("chunk", all_chunks(Path(__file__).parent), ids=str)
def test_program(chunk: Chunk) -> None:
    whole, message = outcome(chunk.program)
    assert (message if chunk.is_error and not chunk.is_trace else whole) == chunk.expected, chunk.program
