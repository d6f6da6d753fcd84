"""The loop follows a single caller from processor to processor, and no others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from threading import get_native_id

import pytest

from tvix.mount.placement import Placement


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The test's own thread is what is moved."""
    allowed = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, allowed)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_one_caller_is_followed_and_several_are_not() -> None:
    allowed = os.sched_getaffinity(0)
    placement = Placement()
    me = get_native_id()
    placement.look(me)
    assert os.sched_getaffinity(0) == allowed, "once is nothing"
    placement.look(me)
    assert len(os.sched_getaffinity(0)) == 1
    placement.look(os.getppid())
    assert os.sched_getaffinity(0) == allowed


def test_callers_that_can_not_be_seen_are_not_followed() -> None:
    allowed = os.sched_getaffinity(0)
    placement = Placement()
    for caller in (0, 0, 1 << 30, 1 << 30):
        placement.look(caller)
        assert os.sched_getaffinity(0) == allowed
