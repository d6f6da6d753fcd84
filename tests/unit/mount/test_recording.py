"""What a run leaves behind for the next one."""

from __future__ import annotations

import pytest

from tvix.castore.digests import digest_of
from tvix.castore.transfer.hot_set import KEYS_MAX, Key, decode_keys, encode_keys
from tvix.mount.recording import merge


def key(number: int) -> Key:
    return Key(digest_of(number.to_bytes(4, "little")))


def merged(used: list[int], before: list[int]) -> list[Key]:
    return list(decode_keys(merge([key(n) for n in used], encode_keys(key(n) for n in before))))


def test_what_was_used_comes_first_and_in_order_then_what_else_was_recorded() -> None:
    assert merged([5, 3, 9], [1, 3, 2]) == [key(n) for n in (5, 3, 9, 1, 2)]


def test_a_run_that_reads_the_same_changes_nothing() -> None:
    assert merged([1, 2, 3], [1, 2, 3]) == [key(1), key(2), key(3)]


def test_what_nobody_reads_any_more_goes_in_time() -> None:
    record = merged(list(range(1000, 1100)), list(range(500)))
    assert len(record) == 200
    assert record[:100] == [key(n) for n in range(1000, 1100)]


def test_a_record_has_bounds() -> None:
    assert len(merged(list(range(KEYS_MAX + 10)), [])) == KEYS_MAX


@pytest.mark.parametrize("before", [None, b"", b"not a record"])
def test_an_unreadable_record_is_none(before: bytes | None) -> None:
    assert list(decode_keys(merge([key(1)], before))) == [key(1)]
