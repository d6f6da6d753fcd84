"""Small blobs on their way into a store: collected, since stores take many at once far more cheaply than one at a time."""

from __future__ import annotations

from tvix.castore.blobs.interface import BlobService, BulkBlobService
from tvix.castore.chunking import single_bytes_max
from tvix.castore.digests import Digest

_BATCH_BLOBS = 512
_BATCH_BYTES = 4 << 20


class BlobBatch:
    """Holds at most 512 blobs or 4 MiB; `flush` at the end."""

    __slots__ = ("_blobs", "_bulk", "_bytes", "_items", "single_bytes_max")

    def __init__(self, blobs: BlobService) -> None:
        self._blobs = blobs
        self._bulk = blobs if isinstance(blobs, BulkBlobService) else None
        self.single_bytes_max = self._bulk.single_bytes_max if self._bulk else single_bytes_max()
        self._items: list[tuple[Digest, bytes]] = []
        self._bytes = 0

    def add(self, digest: Digest, contents: bytes) -> None:
        """One more blob, of at most `single_bytes_max`."""
        self._items.append((digest, contents))
        self._bytes += len(contents)
        if self._bytes >= _BATCH_BYTES or len(self._items) >= _BATCH_BLOBS:
            self.flush()

    def flush(self) -> None:
        """Store what is held."""
        items, self._items, self._bytes = self._items, [], 0
        if self._bulk is not None:
            self._bulk.put_many(items)
        elif items:
            missing = self._blobs.missing([digest for digest, _contents in items])
            for digest, contents in items:
                if digest in missing:
                    missing.discard(digest)
                    self._blobs.put(contents)
