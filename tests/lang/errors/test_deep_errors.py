"""Errors out of programs and values that are nested very deeply: rendered at once, and never a traceback of Python."""

from __future__ import annotations

import time

import pytest

from tvix.eval.deep import force_deeply
from tvix.eval.error_report import render
from tvix.eval.errors import EvalError
from tvix.eval.evaluator import Evaluator
from tvix.eval.io import NoIO
from tvix.eval.printing import UNLIMITED, print_for_repl, print_value
from tvix.eval.stack import on_deep_stack

_NUMBERS = "(builtins.genList (x: x) 100000)"
_DEEP_LIST = f"builtins.foldl' (a: i: [ a ]) 1 {_NUMBERS}"
_DEEP_SET = f'builtins.foldl\' (a: i: {{ a = a; b = [ a ]; }}) (throw "deep") {_NUMBERS}'
_CHAIN = f'builtins.foldl\' (a: i: {{ a = a.a + 1; }}) {{ a = throw "deep"; }} {_NUMBERS}'

PROGRAMS = [
    pytest.param("let f = x: 1 + f x; in f 1", "stack overflow; max-call-depth exceeded", id="calls"),
    pytest.param("let s = { __functor = self: x: self x; }; in s 1", "stack overflow; max-call-depth exceeded", id="functors"),
    pytest.param(f"builtins.deepSeq ({_DEEP_SET}) 1", "deep", id="values"),
    pytest.param(f"({_CHAIN}).a", "deep", id="chain"),
    pytest.param(f"toString [ ({_DEEP_LIST}) (x: x) ]", "cannot coerce a function to a string", id="string"),
    pytest.param(f"1 + {_DEEP_LIST}", "cannot add a list to an integer", id="operand"),
    pytest.param(f"({_DEEP_LIST}) + 1", "cannot coerce a list to a string: " + "[ " * 10 + "[ ... ]" + " ]" * 10, id="quoted"),
    pytest.param("let f = x: [ (f x) ]; in f 1 == f 1", "stack overflow: values nested too deeply", id="comparison"),
    pytest.param("(" * 100_000 + "1", "stack overflow", id="source"),
]


@pytest.mark.parametrize(("program", "message"), PROGRAMS)
def test_rendered_at_once(program: str, message: str) -> None:
    evaluator = Evaluator(NoIO())

    def evaluate() -> tuple[str, float]:
        with evaluator.session():
            try:
                force_deeply(evaluator.string(program, "/"))
            except EvalError as error:
                began = time.perf_counter()
                for show_trace in (False, True):
                    text = render(error, evaluator.sources, evaluator.io, show_trace=show_trace, color=False)
                return text, time.perf_counter() - began
        raise AssertionError("a value")

    text, seconds = on_deep_stack(evaluate)
    assert f"error: {message}" in text
    assert len(text) < 250_000
    assert seconds < 2  # 0.02 on a quiet machine


def test_deep_values_are_printed() -> None:
    evaluator = Evaluator(NoIO())

    def evaluate() -> tuple[str, str]:
        with evaluator.session():
            value = force_deeply(evaluator.string(_DEEP_LIST, "/"))
            less = force_deeply(evaluator.string(_DEEP_LIST.replace("100000", "1000"), "/"))
            return print_value(value), print_for_repl(less, UNLIMITED)  # its indentation is quadratic

    plain, spread = on_deep_stack(evaluate)
    assert plain == "[ " * 100_000 + "1" + " ]" * 100_000
    assert spread.count("\n") == 2 * 999
