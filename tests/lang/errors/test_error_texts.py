"""Every program of this directory fails with the text that is written below it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tvix.eval.deep import force_deeply
from tvix.eval.error_report import render
from tvix.eval.errors import EvalError
from tvix.eval.evaluator import Evaluator, Settings
from tvix.eval.io import NoIO
from tvix.eval.stack import on_deep_stack
from tvix.testing.error_texts import PROGRAM, ErrorText, all_error_texts

if TYPE_CHECKING:
    from tvix.eval.io import FileKind


class OneFile(NoIO):
    """There is nothing but the program."""

    def __init__(self, program: bytes) -> None:
        self.program = program

    def kind(self, path: str) -> FileKind | None:
        return "regular" if path == PROGRAM else None

    def read(self, path: str) -> bytes:
        assert path == PROGRAM
        return self.program


def texts_of(program: bytes, *, strict: bool) -> tuple[str, str]:
    """What is printed without and with the trace."""
    settings = Settings()
    settings.pipe_operators = False
    settings.home = "/root"
    evaluator = Evaluator(OneFile(program), settings)

    def evaluate() -> tuple[str, str]:
        with evaluator.session():
            try:
                value = evaluator.main_file(PROGRAM)
                if strict:
                    force_deeply(value)
            except EvalError as error:
                sources, io = evaluator.sources, evaluator.io
                short = render(error, sources, io, show_trace=False, color=False)
                return _utf8(short), _utf8(render(error, sources, io, show_trace=True, color=False))
        return "a value", "a value"

    return on_deep_stack(evaluate)


def _utf8(text: str) -> str:
    return text.encode("latin-1").decode(errors="backslashreplace")


@pytest.mark.parametrize("item", all_error_texts(Path(__file__).parent), ids=str)
def test_text(item: ErrorText) -> None:
    short, full = texts_of(item.program, strict=item.strict)
    assert short == item.short, item.program.decode(errors="backslashreplace")
    assert full == item.full, item.program.decode(errors="backslashreplace")
