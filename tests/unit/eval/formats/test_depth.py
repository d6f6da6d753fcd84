"""Nesting of 100,000 levels is read and written; values that contain themselves end in an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tvix.eval.deep import force_deeply
from tvix.eval.errors import EvalError, StackOverflow
from tvix.eval.evaluator import Evaluator
from tvix.eval.formats.json_write import json_text
from tvix.eval.io import NoIO
from tvix.eval.stack import on_deep_stack
from tvix.eval.values import MACHINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvix.eval.values import Value

DEPTH = 100_000


def evaluated(program: str) -> Value:
    evaluator = Evaluator(NoIO())

    def run() -> Value:
        with evaluator.session():
            return force_deeply(evaluator.string(program, "/"))

    return on_deep_stack(run)


def inside(work: Callable[[], str]) -> str:
    evaluator = Evaluator(NoIO())

    def run() -> str:
        with evaluator.session():
            return work()

    return on_deep_stack(run)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_is_read_and_written_again(opening: str, closing: str) -> None:
    text = opening * DEPTH + "1" + closing * DEPTH
    value = evaluated(f"builtins.fromJSON ''{text}''")
    assert inside(lambda: json_text(value, set())) == text


def test_json_that_never_ends_is_refused() -> None:
    with pytest.raises(EvalError, match="unexpected end of input"):
        evaluated(f"builtins.fromJSON ''{'[' * DEPTH}''")


@pytest.mark.parametrize("program", ["builtins.toXML (let x = { a = x; }; in x)", "builtins.toJSON (let x = [ x ]; in x)"])
def test_a_value_that_contains_itself(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MACHINE, "max_nesting", 50_000)
    with pytest.raises(StackOverflow):
        evaluated(program)


@pytest.mark.parametrize("text", ["a = " + "[" * DEPTH + "]" * DEPTH, "a = " + "{a = " * DEPTH + "1" + "}" * DEPTH])
def test_toml(text: str) -> None:
    assert evaluated(f"builtins.isAttrs (builtins.fromTOML ''{text}'')") is True


def test_a_key_with_many_dots() -> None:
    assert evaluated(f"builtins.isAttrs (builtins.fromTOML ''{'.'.join(['a'] * DEPTH)} = 1'')") is True
