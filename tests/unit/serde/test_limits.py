"""Time and memory that a load may take."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.serde.schema import Everything, Server
from tvix.eval.errors import LimitExceeded
from tvix.serde import EvaluationFailed, Limits, SchemaMismatch, UnsupportedSchema, load

GENEROUS = Limits(seconds=60, memory=512 << 20)
ENDLESS = "let f = n: if n == 0 then 0 else f (n - 1); in builtins.foldl' (a: n: a + f 1000) 0 (builtins.genList (n: n) 10000000)"
HUGE = "builtins.length (builtins.genList (n: [ n n ]) 100000000)"


def test_within_the_limits() -> None:
    assert load('{ server.host = "a"; }', Everything, limits=GENEROUS) == Everything(server=Server("a"))


def test_too_long() -> None:
    begun = time.monotonic()
    with pytest.raises(LimitExceeded, match=r"the evaluation took longer than 0\.3 seconds"):
        load(ENDLESS, int, limits=Limits(seconds=0.3))
    wait = {"wait": lambda seconds: time.sleep(seconds) or 1}
    with pytest.raises(LimitExceeded):
        load("builtins.wait 60", object, limits=Limits(seconds=0.1), builtins=wait)
    assert time.monotonic() - begun < 20


def test_too_much() -> None:
    with pytest.raises(LimitExceeded, match="the evaluation needed more than 50000000 bytes of memory"):
        load(HUGE, int, limits=Limits(memory=50_000_000))


def test_what_the_program_has_already_does_not_count() -> None:
    ballast = bytearray(os.urandom(1)) * (100 << 20)
    wait = {"wait": lambda seconds: time.sleep(seconds) or 1}
    assert load("builtins.wait 0.2", int, limits=Limits(memory=60 << 20), builtins=wait) == 1
    assert len(ballast) == 100 << 20


def test_errors_come_through() -> None:
    with pytest.raises(SchemaMismatch) as caught:
        load("{ cuont = 1; }", Everything, limits=GENEROUS, name="c.nix")
    assert caught.value.problems[0].suggestions == ("count",)
    with pytest.raises(EvaluationFailed, match=r"c\.nix:1:1: no"):
        load('throw "no"', int, limits=GENEROUS, name="c.nix")
    with pytest.raises(ZeroDivisionError):
        load("builtins.f 1", int, limits=GENEROUS, builtins={"f": lambda value: value / 0})


def test_classes_that_another_process_can_not_name() -> None:
    @dataclass
    class Local:
        a: int

    assert load("{ a = 1; }", Local) == Local(1)
    with pytest.raises(UnsupportedSchema, match="what is loaded comes from another process"):
        load("{ a = 1; }", Local, limits=GENEROUS)


def test_no_process_and_no_descriptor_is_left() -> None:
    before = len(os.listdir("/proc/self/fd"))
    children = _children()
    for text in ("1", ENDLESS):
        try:
            load(text, int, limits=Limits(seconds=0.2))
        except LimitExceeded:
            assert text == ENDLESS
    assert len(os.listdir("/proc/self/fd")) == before
    assert _children() == children


def _children() -> set[str]:
    """Of all threads: other tests may have left some, too."""
    return {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}
