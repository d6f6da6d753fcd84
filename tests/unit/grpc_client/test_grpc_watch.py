"""Waits are ended when they take too long, and only then."""

from __future__ import annotations

from threading import Event, active_count

from tvix.castore.grpc_watch import Watchdog


def test_a_wait_that_takes_too_long_is_ended() -> None:
    ended = Event()
    with Watchdog(0.05).watch(ended.set) as watch:
        watch.begin()
        assert ended.wait(20)
        assert watch.expired


def test_waits_that_are_over_in_time_are_not() -> None:
    watchdog = Watchdog(0.05)
    other, mine = Event(), Event()
    with watchdog.watch(mine.set) as watch, watchdog.watch(other.set) as slow:
        slow.begin()
        while not other.is_set():
            watch.begin()
            watch.end()
        assert not mine.is_set()
        assert not watch.expired


def test_nobody_looks_when_nothing_waits() -> None:
    before = active_count()
    watchdog = Watchdog(0.01)
    ended = Event()
    for _ in range(2):
        ended.clear()
        with watchdog.watch(ended.set) as watch:
            watch.begin()
            assert ended.wait(20)
        while active_count() > before:
            pass
