"""Hot sets in memory, as many as fit; the longest unused go first."""

from __future__ import annotations

from threading import Lock

from tvix.castore.digests import Digest
from tvix.castore.transfer.hot_set import check_hot_set, hot_set_name

BYTES_MAX = 16 << 20


class MemoryHotSetService:
    """A `HotSetService` that keeps at most `max_bytes` of keys."""

    def __init__(self, max_bytes: int = BYTES_MAX) -> None:
        self._max_bytes = max_bytes
        self._sets: dict[bytes, bytes] = {}  # oldest use first
        self._bytes = 0
        self._lock = Lock()

    def get_hot_set(self, root: Digest, profile: str) -> bytes | None:
        """See `HotSetService`."""
        name = hot_set_name(root, profile)
        with self._lock:
            keys = self._sets.pop(name, None)
            if keys is not None:
                self._sets[name] = keys
            return keys

    def put_hot_set(self, root: Digest, profile: str, keys: bytes) -> None:
        """See `HotSetService`."""
        check_hot_set(profile, keys)
        name = hot_set_name(root, profile)
        with self._lock:
            self._bytes += len(keys) - len(self._sets.pop(name, b""))
            self._sets[name] = keys
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._sets.pop(next(iter(self._sets))))
