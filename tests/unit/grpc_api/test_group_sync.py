"""Many callers share a sync, and none is answered by one that began before it asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import pytest

from tvix.grpc_api.group_sync import GroupSync


def test_callers_during_a_sync_share_the_next() -> None:
    entered, go_on = Event(), Event()
    syncs: list[set[int]] = []
    written: set[int] = set()

    def sync() -> None:
        syncs.append(set(written))
        entered.set()
        go_on.wait(20)

    group = GroupSync(sync)
    first = Thread(target=group)
    first.start()
    assert entered.wait(20)

    def write(number: int) -> bool:
        written.add(number)
        group()
        return any(number in durable for durable in syncs)

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(write, number) for number in range(8)]
        while len(written) < 8:
            pass
        go_on.set()
        assert all(answer.result() for answer in answers)
    first.join()
    assert len(syncs) <= 3


def test_a_failure_is_told_to_whoever_ran_it_and_others_try_again() -> None:
    outcomes = iter([OSError("full"), None])

    def sync() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    group = GroupSync(sync)
    with pytest.raises(OSError, match="full"):
        group()
    group()
