"""A thread with a deep stack leaves the process as it was."""

from __future__ import annotations

import sys
from threading import Event, Thread

import pytest

from tvix.eval.stack import on_deep_stack


@pytest.fixture(autouse=True)
def usual() -> int:
    limit = sys.getrecursionlimit()
    assert limit < 1_000_000
    return limit


def test_the_recursion_limit_is_lifted_inside_alone(usual: int) -> None:
    assert on_deep_stack(sys.getrecursionlimit) > 1_000_000
    assert sys.getrecursionlimit() == usual


def test_what_is_raised_comes_out_and_the_limit_is_put_back(usual: int) -> None:
    with pytest.raises(ZeroDivisionError):
        on_deep_stack(lambda: 1 // 0)
    assert sys.getrecursionlimit() == usual


def test_the_last_of_two_threads_puts_it_back(usual: int) -> None:
    begun, end = Event(), Event()
    inside: list[int] = []

    def long() -> None:
        begun.set()
        end.wait()
        inside.append(sys.getrecursionlimit())

    other = Thread(target=on_deep_stack, args=(long,))
    other.start()
    begun.wait()
    on_deep_stack(lambda: None)
    end.set()
    other.join()
    assert inside[0] > 1_000_000
    assert sys.getrecursionlimit() == usual
