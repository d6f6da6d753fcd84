"""A short run of the fuzzer of scanner and parser; `make soak` goes on ten times as long."""

from __future__ import annotations

from random import Random

import pytest

from tvix.testing.expressions import Expressions
from tvix.testing.parser_fuzzing import one_input, run

pytestmark = pytest.mark.soak


def test_mutations_do_no_harm(seed: int, soak: bool) -> None:
    count = 50_000 if soak else 5_000
    assert run(count, seed) > count // 50  # most mutations break a program, but not all


def test_random_programs_are_printed_and_read_again(seed: int, soak: bool) -> None:
    expressions = Expressions(Random(seed), wrong=0)
    for _ in range(5_000 if soak else 500):
        one_input(expressions.program().encode())
