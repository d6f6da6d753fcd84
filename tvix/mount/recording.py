"""First accesses of a run, in order: what the next run of the same is sent before it asks.

Reads are recorded whether what they read was near or not, so a run that finds everything near records as much as the first one.
What the last record has and this run didn't read stays, behind what it did read, until the record is `STALE` times as large as the
run was: programs that take one way today and another tomorrow have both, and what nobody reads any more goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvix.castore.protobuf import MalformedMessage
from tvix.castore.transfer.hot_set import KEYS_MAX, Key, decode_keys, encode_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

STALE = 2
_FEW = 64
"""A run that reads less than this many keys says little about what nobody reads."""


def merge(used: Iterable[Key], before: bytes | None) -> bytes:
    """The new record, encoded: `used` in order, then what else the record `before` has, within bounds; none if unreadable."""
    merged = dict.fromkeys(used)
    bound = min(KEYS_MAX, max(_FEW, STALE * len(merged)))
    if before:
        try:
            for key in decode_keys(before):
                if len(merged) >= bound:
                    break
                merged.setdefault(key)
        except MalformedMessage:
            pass
    return encode_keys(list(merged)[:KEYS_MAX])
