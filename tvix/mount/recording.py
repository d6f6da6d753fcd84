"""First accesses of a run, in order: what the next run of the same is sent before it asks.

Reads are recorded whether what they read was near or not, so a run that finds everything near records as much as the first one.
What the last record has and this run didn't read stays, behind what it did read, until the record is `STALE` times as large as the
run was: programs that take one way today and another tomorrow have both, and what nobody reads any more goes.
"""

from __future__ import annotations

from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from tvix.castore.protobuf import MalformedMessage
from tvix.castore.transfer.hot_set import KEYS_MAX, Key, decode_keys, encode_keys
from tvix.errors import TvixError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tvix.castore.digests import Digest
    from tvix.castore.transfer.hot_set import HotSetService

STALE = 2
QUIET_SECONDS = 10.0
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


class Recording:
    """What is read of `root` under the name `profile`, kept by `services` (near, and far where it takes it).

    It is kept when nothing new was read for `QUIET_SECONDS`, and when the run ends. `used` grows in order of first use.
    """

    def __init__(
        self,
        root: Digest,
        profile: str,
        used: Sequence[Key],
        services: Sequence[HotSetService],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.root = root
        self._profile = profile
        self._used = used
        self._services = services
        self._clock = clock
        self._kept = 0
        self._seen = 0
        self._changed = 0.0
        self._before: bytes | None = None
        self._lock = Lock()

    def near_record(self) -> bytes | None:
        """What near has of an earlier run."""
        try:
            return self._services[0].get_hot_set(self.root, self._profile) if self._services else None
        except TvixError:
            return None

    def is_due(self) -> bool:
        """Whether it is time to keep it."""
        count = len(self._used)
        if count != self._seen:
            self._seen = count
            self._changed = self._clock()
        return count > self._kept and self._clock() - self._changed >= QUIET_SECONDS

    def due_in(self) -> float | None:
        """In how many seconds it may be; None for never."""
        if len(self._used) <= self._kept:
            return None
        return max(self._changed + QUIET_SECONDS - self._clock(), 0.0) if len(self._used) == self._seen else QUIET_SECONDS

    def keep(self, before: bytes | None, *, near_alone: bool = False) -> None:
        """Have it kept, unless it is what was kept `before` already. May take a while; what fails is left out: it is a hint."""
        with self._lock:
            used = list(self._used)
            if len(used) <= self._kept:
                return
            self._kept = len(used)
            record = merge(used, self._before or before)
            if record == self._before:
                return
            self._before = record
            for service in self._services[: 1 if near_alone else None]:
                try:
                    service.put_hot_set(self.root, self._profile, record)
                except (TvixError, ValueError):
                    continue
