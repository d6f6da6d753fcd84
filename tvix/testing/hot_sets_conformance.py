"""What every store of hot sets is held to. A back end's module says `from tvix.testing.hot_sets_conformance import *` and gives the
fixture `hot_sets`, an empty `HotSetService`."""

from __future__ import annotations

import pytest

from tvix.castore.digests import digest_of
from tvix.castore.transfer.hot_set import KEY_BYTES, KEYS_MAX, PROFILE_BYTES_MAX, HotSetService, Key, encode_keys

ROOT = digest_of(b"a root")
OTHER = digest_of(b"another root")
KEYS = encode_keys([Key(digest_of(b"one")), Key(digest_of(b"two"), 1 << 40, 4096)])


def test_nothing_is_recorded_at_first(hot_sets: HotSetService) -> None:
    assert hot_sets.get_hot_set(ROOT, "") is None


def test_what_is_recorded_comes_back(hot_sets: HotSetService) -> None:
    hot_sets.put_hot_set(ROOT, "boot", KEYS)
    assert hot_sets.get_hot_set(ROOT, "boot") == KEYS


def test_roots_and_profiles_are_apart(hot_sets: HotSetService) -> None:
    hot_sets.put_hot_set(ROOT, "", KEYS)
    hot_sets.put_hot_set(ROOT, "ä", KEYS[:KEY_BYTES])
    assert hot_sets.get_hot_set(ROOT, "") == KEYS
    assert hot_sets.get_hot_set(ROOT, "ä") == KEYS[:KEY_BYTES]
    assert hot_sets.get_hot_set(ROOT, "boot") is None
    assert hot_sets.get_hot_set(OTHER, "") is None


def test_the_last_one_counts(hot_sets: HotSetService) -> None:
    for keys in (KEYS, KEYS[KEY_BYTES:], KEYS, KEYS, KEYS[:KEY_BYTES]):
        hot_sets.put_hot_set(ROOT, "p", keys)
        assert hot_sets.get_hot_set(ROOT, "p") == keys


def test_the_longest_profile_and_the_most_keys(hot_sets: HotSetService) -> None:
    keys = encode_keys([Key(ROOT)]) * KEYS_MAX
    hot_sets.put_hot_set(ROOT, "x" * PROFILE_BYTES_MAX, keys)
    assert hot_sets.get_hot_set(ROOT, "x" * PROFILE_BYTES_MAX) == keys


@pytest.mark.parametrize(
    ("profile", "keys"),
    [
        ("x" * (PROFILE_BYTES_MAX + 1), KEYS),
        ("", KEYS[:-1]),
        ("", bytes(KEY_BYTES) * (KEYS_MAX + 1)),
    ],
    ids=["profile", "cut", "many"],
)
def test_what_is_too_large_or_cut_is_refused(hot_sets: HotSetService, profile: str, keys: bytes) -> None:
    with pytest.raises(ValueError, match=r"profile|hot set"):
        hot_sets.put_hot_set(ROOT, profile, keys)
    assert hot_sets.get_hot_set(ROOT, "") is None
