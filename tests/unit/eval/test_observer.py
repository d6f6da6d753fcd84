"""Whoever looks on: results stay what they are, and all that begins ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lang.test_programs import OneFile, outcome
from tvix.eval.deep import force_deeply
from tvix.eval.dumps.code_text import code_text
from tvix.eval.dumps.node_text import node_text
from tvix.eval.errors import EvalError
from tvix.eval.evaluator import Evaluator, Settings
from tvix.eval.io import NoIO
from tvix.eval.observer import BUILTIN, EXPRESSION, FILE, FUNCTION, Observer, Several
from tvix.eval.observers.counters import Counters
from tvix.eval.observers.places import Places
from tvix.eval.observers.profile import MOST_FRAMES, Profile
from tvix.eval.observers.steps import StepTrace
from tvix.eval.stack import on_deep_stack
from tvix.testing.language import all_chunks

if TYPE_CHECKING:
    from tvix.eval.values import Value

LANG = Path(__file__).parents[2] / "lang"
CHUNKS = [chunk for chunk in all_chunks(LANG) if not chunk.differs]
MANY = 50
"""So many programs are one test."""


class Balance(Observer):
    """Sees that what ends is what began last."""

    def __init__(self, *, expressions: bool = True) -> None:
        super().__init__(expressions)
        self.open: list[tuple[int, str]] = []
        self.kinds: set[int] = set()

    def begun(self, kind: int, name: str, position: int) -> None:  # noqa: ARG002
        self.open.append((kind, name))
        self.kinds.add(kind)

    def ended(self, kind: int, name: str, value: Value) -> None:  # noqa: ARG002
        began = self.open.pop()
        assert began[0] == kind
        assert kind == FUNCTION or began[1] == name


@pytest.mark.parametrize("start", range(0, len(CHUNKS), MANY))
@pytest.mark.parametrize("expressions", [True, False])
def test_results_stay_what_they_are(start: int, expressions: bool) -> None:
    for chunk in CHUNKS[start : start + MANY]:
        balance, settings = Balance(expressions=expressions), Settings()
        settings.observer = Several([balance, Counters(), Profile()]) if expressions else balance
        whole, message = outcome(chunk.program, settings)
        assert (message if chunk.is_error and not chunk.is_trace else whole) == chunk.expected, chunk
        assert balance.open == []


def _observe(observer: Observer, program: str) -> Evaluator:
    settings = Settings()
    settings.observer = observer
    evaluator = Evaluator(OneFile(program), settings)

    def evaluate() -> None:
        with evaluator.session():
            force_deeply(evaluator.main_file("/lang/program.nix"))

    on_deep_stack(evaluate)
    return evaluator


def test_all_kinds_are_seen() -> None:
    balance = Balance()
    _observe(balance, "map (x: x + 1) [ 1 ]")
    assert balance.kinds == {EXPRESSION, FUNCTION, BUILTIN, FILE}
    fewer = Balance(expressions=False)
    _observe(fewer, "map (x: x + 1) [ 1 ]")
    assert fewer.kinds == {FUNCTION, BUILTIN, FILE}


def test_what_an_observer_raises_ends_the_evaluation_and_leaves_values_whole() -> None:
    class Once(Observer):
        def begun(self, kind: int, name: str, position: int) -> None:  # noqa: ARG002
            if name == "add" and self.expressions:
                self.expressions = False
                raise KeyboardInterrupt

    settings = Settings()
    settings.observer = Once(True)
    evaluator = Evaluator(NoIO(), settings)
    value = evaluator.string("{ a = builtins.add 1 2; }", "/")
    with pytest.raises(KeyboardInterrupt), evaluator.session():
        force_deeply(value)
    with evaluator.session():
        assert evaluator.string("set: set.a", "/").call(value) == 3


def test_counters() -> None:
    counters = Counters()
    _observe(counters, "let f = x: { a = x; b = f; }; in map f [ 1 2 3 ] ++ [ (rec { a = 1; } // { }).a ]")
    numbers = counters.numbers()
    assert (numbers["nrFunctionCalls"], numbers["nrFiles"], numbers["nrOpUpdates"]) == (3, 1, 1)
    assert (numbers["sets"], numbers["list"]) == ({"number": 4, "elements": 7}, {"elements": 4, "concats": 1})
    assert numbers["primops"] == {"map": 1}
    assert [entry["count"] for entry in counters.functions(_places("x"))] == [3]


def _places(text: str) -> Places:
    evaluator = Evaluator(OneFile(text))
    evaluator.sources.file("/lang/program.nix")
    return Places(evaluator.sources, evaluator.io)


def test_steps() -> None:
    lines: list[str] = []
    steps, settings = StepTrace(lines.append), Settings()
    settings.observer = steps
    evaluator = Evaluator(NoIO(), settings)
    steps.places = Places(evaluator.sources, evaluator.io)
    with evaluator.session(), pytest.raises(EvalError):
        evaluator.string('(x: x + 1) 2 + throw "no"', "/", "s")
    assert lines == [
        "+ s:1:14",
        "  call s:1:1",
        "    function (anonymous) s:1:2",
        "      + s:1:7",
        "      = 3",
        "    = 3",
        "  = 3",
        "  builtin-call s:1:16",
        "    builtin throw",
        "    failed",
        "  failed",
        "failed",
    ]


def test_profile() -> None:
    profile = Profile()
    program = "let\n slow = n: if n == 0 then 0 else 1 + slow (n - 1);\nin builtins.foldl' (a: b: a + slow 3000) 0 [ 1 2 3 ]"
    evaluator = _observe(profile, program)
    lines = list(profile.folded(Places(evaluator.sources, evaluator.io)))
    stacks = {stack: int(spent) for stack, _, spent in (line.rpartition(" ") for line in lines)}
    path = "file /lang/program.nix;builtins.foldl';lambda /lang/program.nix:3:24;slow /lang/program.nix:2:9"
    assert max(stacks, key=stacks.__getitem__) == path


def test_profiles_of_deep_stacks_stay_small() -> None:
    profile = Profile()
    evaluator = _observe(profile, "let a = n: if n == 0 then 0 else b (n - 1); b = n: if n == 0 then 0 else a (n - 1); in a 9000")
    assert max(line.count(";") for line in profile.folded(Places(evaluator.sources, evaluator.io))) < MOST_FRAMES


@pytest.mark.parametrize("start", range(0, len(CHUNKS), 200))
def test_dumps_have_all_programs(start: int) -> None:
    for chunk in CHUNKS[start : start + 200]:
        evaluator = Evaluator(NoIO())
        text = chunk.program.encode().decode("latin-1")
        source = evaluator.sources.string(text, "/")
        try:
            piece = evaluator.code(source, text)
        except EvalError:
            continue
        try:
            node = evaluator.node(source, text)
        except EvalError:  # `~` without a home
            continue
        assert code_text(piece).isprintable() or "\n" in code_text(piece)
        assert node_text(node)


CODE = """\
call @0
  function: pattern-function {a b} ellipsis whole=c @1
    defaults.1: constant 1
    body: set @22
      x @24: slot up=0 slot=2 @28
  arguments.0: list
"""


def test_dumps() -> None:
    text = "({ a, b ? 1, ... }@c: { x = c; }) [ ]"
    evaluator = Evaluator(NoIO())
    source = evaluator.sources.string(text, "/")
    assert code_text(evaluator.code(source, text)) == CODE
    assert node_text(evaluator.node(source, "(x: x + 1) 2")) == (
        "Call1 @0\n"
        "  function: Lambda parameter=x @1\n"
        "    body: Add @6 left=@4 right=@8\n"
        "      left: Argument0 @4\n"
        "      right: Constant value=1\n"
        "  argument: Constant value=2\n"
    )
