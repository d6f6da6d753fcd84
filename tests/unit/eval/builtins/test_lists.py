"""Sorting, closures and deep evaluation, beyond what a program in tests/lang shows well: orders at random, and great sizes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvix.eval import values
from tvix.eval.errors import EvalError, StackOverflow, Thrown
from tvix.eval.evaluator import Evaluator
from tvix.eval.io import NoIO
from tvix.eval.stack import on_deep_stack
from tvix.eval.values import MACHINE, force

COMPILED = not values.__file__.endswith(".py")
"""The great sizes take long without."""


def value_of(program: str) -> object:
    """The value of a program, in Python's terms where it is a list of simple values."""
    evaluator = Evaluator(NoIO())
    with evaluator.session():
        value = evaluator.string(program, "/")
        return [force(item) for item in value] if type(value) is tuple else value


def deep_value_of(program: str) -> object:
    """The same on a stack that is deep enough for it."""
    return on_deep_stack(lambda: value_of(program))


def written(numbers: list[int]) -> str:
    return "[ " + " ".join(f"({number})" for number in numbers) + " ]"


@given(st.lists(st.integers(-30, 30), max_size=120))
def test_every_list_is_sorted(numbers: list[int]) -> None:
    assert value_of(f"builtins.sort builtins.lessThan {written(numbers)}") == sorted(numbers)
    assert value_of(f"builtins.sort (a: b: a < b) {written(numbers)}") == sorted(numbers)


@given(st.lists(st.integers(0, 99), max_size=120))
def test_sorting_is_stable(numbers: list[int]) -> None:
    program = f"builtins.sort (a: b: a / 10 > b / 10) {written(numbers)}"
    assert value_of(program) == sorted(numbers, key=lambda number: -(number // 10))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=80))
def test_a_closure_has_each_key_once(numbers: list[int]) -> None:
    """Whatever the kind of the keys: integers are hashed, lists are compared."""
    starts = " ".join(f"{{ key = {number}; }}" for number in numbers)
    lists = " ".join(f"{{ key = [ {number} ]; }}" for number in numbers)
    found = "map (x: x.key) (builtins.genericClosure { startSet = [ %s ]; operator = x: [ ]; })"
    once = list(dict.fromkeys(numbers))
    assert value_of(found % starts) == once
    assert value_of(f"builtins.concatLists ({found % lists})") == once


@pytest.mark.parametrize("one_more", ["[ a ]", "{ x = a; }", "{ x = [ a ]; y = a; }"])
def test_a_value_may_be_nested_as_deep_as_one_likes(one_more: str) -> None:
    deep = f"builtins.foldl' (a: b: {one_more}) 1 (builtins.genList (i: i) 100000)"
    assert deep_value_of(f"builtins.deepSeq ({deep}) 7") == 7


def test_a_value_may_contain_itself() -> None:
    assert deep_value_of("let x = { a = x; b = [ x b ]; b' = b; }; b = [ x b ]; in builtins.deepSeq x 7") == 7


@pytest.mark.parametrize(
    "program",
    [
        "builtins.lessThan deep deep",
        "builtins.stringLength (toString deep)",
        "deep == builtins.head [ deep ]",
        "builtins.deepSeq (map (x: deep) [ 1 2 ]) 1",
    ],
)
def test_deep_values_end_in_a_value_or_an_error(program: str) -> None:
    depth = 1_000_000 if COMPILED else 100_000
    deep = f"builtins.foldl' (a: b: [ a ]) 1 (builtins.genList (i: i) {depth})"
    with contextlib.suppress(StackOverflow):
        assert deep_value_of(f"let deep = {deep}; in {program}") is not None


def test_what_is_caught_leaves_nothing_behind() -> None:
    """The depth of calls is what it was, so that any number of errors can be caught one after the other."""
    deep = 'let f = n: if n == 0 then throw "x" else 1 + f (n - 1); in (builtins.tryEval (f 6000)).success'
    evaluator = Evaluator(NoIO())

    def evaluate() -> tuple[bool, int, int]:
        with evaluator.session():
            found = evaluator.string(f"builtins.any (x: x) (map (i: {deep}) [ 1 2 3 ])", "/")
            return found, int(MACHINE.depth), int(MACHINE.nesting)

    assert on_deep_stack(evaluate) == (False, 0, 0)


def test_very_many_elements() -> None:
    count = 2_000_000 if COMPILED else 200_000
    program = f"builtins.foldl' (a: b: a + b) 0 (map (x: x + 1) (builtins.genList (i: i) {count}))"
    assert deep_value_of(program) == count * (count + 1) // 2


def test_a_list_too_long_for_any_memory_is_refused() -> None:
    with pytest.raises(EvalError, match="cannot create list of size 9000000000000000000"):
        deep_value_of("builtins.genList (i: i) 9000000000000000000")


def test_an_element_that_failed_fails_again() -> None:
    with pytest.raises(Thrown, match="again"):
        deep_value_of(
            'let l = map (x: throw "again") [ 1 ]; in if (builtins.tryEval (builtins.head l)).success then 1 else builtins.head l'
        )
