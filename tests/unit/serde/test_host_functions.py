"""Builtins of the host program."""

from __future__ import annotations

import pytest

from tests.unit.serde.schema import Pair, Server
from tvix.serde import EvaluationFailed, UnsupportedSchema, load


def greet(name: str, times: int) -> str:
    """Two arguments."""
    if times < 0:
        raise ValueError("less than nothing")
    return f"hello {name} " * times


def swap(pair: Pair) -> list[object]:
    """A typed argument."""
    return [pair.count, pair.name]


def three(a: int, b: float, c: bool) -> dict[str, object]:
    """Three arguments."""
    return {"a": a, "b": b, "c": c}


def server(name: str) -> Server:
    """Returns what dump can write."""
    return Server(name)


def fail(what: object) -> None:
    """Fails in a way of its own."""
    raise KeyError(what)


def unwritable(what: object) -> object:
    """Returns what no text stands for."""
    return what.__class__


def nested(text: str) -> object:
    """Loads while something is loaded."""
    return load(text, object, builtins=BUILTINS)


BUILTINS: dict[str, object] = {
    **{function.__name__: function for function in (greet, swap, three, server, fail, unwritable, nested)},
    "untyped": lambda value: value,
    "constant": {"list": [1, 2], "text": "é"},
}

GIVEN = [
    ('builtins.greet "é" 2', "hello é hello é "),
    ('map (builtins.greet "a") [ 0 1 ]', ("", "hello a ")),
    ('__greet "a" 1', "hello a "),
    ('builtins.swap [ "a" 1 ]', (1, "a")),
    ("builtins.three 1 2 true", {"a": 1, "b": 2.0, "c": True}),
    ("let two = builtins.three 1 2; in (two false).c", False),
    ('(builtins.server "a").port + 1', 81),
    ("builtins.untyped { a = [ 1 null (1 + 1) ]; }", {"a": (1, None, 2)}),
    ("builtins.constant.list ++ [ __constant.text ]", (1, 2, "é")),
    ('builtins.nested "builtins.nested \\"1 + 1\\""', 2),
    ("builtins.isFunction builtins.greet && builtins ? greet", True),
]


@pytest.mark.parametrize(("text", "value"), GIVEN, ids=[text for text, _ in GIVEN])
def test_what_it_gives(text: str, value: object) -> None:
    assert load(text, object, builtins=BUILTINS) == value


WRONG = [
    (
        "builtins.greet 1 2",
        "expected a string but found an integer: 1",
        "the first argument passed to builtins.greet",
    ),
    ('builtins.greet "a" "b"', 'expected an integer but found a string: "b"', "the second argument passed to builtins.greet"),
    ('builtins.greet "a" (-1)', "less than nothing", "while calling the 'greet' builtin"),
    ('builtins.swap [ "a" "b" ]', 'expected an integer but found a string: "b" at [1]', "while calling the 'swap' builtin"),
    ("builtins.untyped (x: x)", "expected a value that isn't a function but found a function", "the first argument"),
    ('builtins.greet (throw "no") 1', "no", "while calling the 'greet' builtin"),
    (
        "builtins.unwritable 1",
        "what unwritable returns: expected a value that isn't a function but found <class 'int'>",
        "unwritable",
    ),
    ('builtins.nested "1 +"', "nested: «string»:1:4: syntax error", "while calling the 'nested' builtin"),
]


@pytest.mark.parametrize(("text", "said", "trace"), WRONG, ids=[text for text, _, _ in WRONG])
def test_what_is_wrong(text: str, said: str, trace: str) -> None:
    with pytest.raises(EvaluationFailed) as caught:
        load(text, object, builtins=BUILTINS)
    assert said in str(caught.value)
    assert trace in caught.value.report()


def test_other_exceptions_come_out() -> None:
    with pytest.raises(KeyError, match="a"):
        load('{ x = (builtins.tryEval (builtins.fail "a")).value; }', object, builtins=BUILTINS)
    assert load("1", int) == 1


def test_derivation_is_replaced_everywhere() -> None:
    def derivation(arguments: dict[str, object]) -> dict[str, object]:
        return {"outPath": f"/place/{arguments['name']}"}

    builtins: dict[str, object] = {"derivation": derivation}
    assert load('"${derivation { name = "a"; }}"', str, builtins=builtins) == "/place/a"
    assert load('"${builtins.derivation { name = "a"; }}"', str, builtins=builtins) == "/place/a"
    with pytest.raises(EvaluationFailed, match="needs a store"):
        load('"${derivation { name = "a"; builder = "b"; system = "c"; }}"', str)


def nothing() -> None:
    """No argument."""


def four(a: int, b: int, c: int, d: int) -> int:
    """Too many."""
    return a + b + c + d


def bad(a: bytes) -> int:
    """No value becomes this."""
    return len(a)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (nothing, "builtin f: it has 0 positional parameters, not one to three"),
        (four, "builtin f: it has 4 positional parameters, not one to three"),
        (bad, "builtin f, a: no value of the language becomes bytes"),
    ],
)
def test_functions_that_are_no_builtins(function: object, reason: str) -> None:
    with pytest.raises(UnsupportedSchema) as caught:
        load("1", int, builtins={"f": function})
    assert str(caught.value) == reason
