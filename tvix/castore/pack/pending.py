"""Payloads that were put and are not written yet: collected, then compressed and written many at a time."""

from __future__ import annotations

from collections.abc import Sequence

from tvix.castore.blobs.interface import Buffer
from tvix.castore.compression import Compressor
from tvix.castore.pack.format import BLOB
from tvix.castore.pack.writer import Record

FULL_RECORDS = 1000
FULL_BYTES = 4 << 20


class Pending:
    """Payloads by index key, each with its size where it came compressed, else 0. Lookups need no lock, the rest does."""

    def __init__(self) -> None:
        self._payloads: dict[bytes, tuple[int, bytes]] = {}
        self._bytes = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._payloads

    def __len__(self) -> int:
        return len(self._payloads)

    def get(self, key: bytes) -> tuple[int, bytes] | None:
        """Size and payload."""
        return self._payloads.get(key)

    @property
    def is_full(self) -> bool:
        """Whether it is time to write."""
        return self._bytes >= FULL_BYTES or len(self._payloads) >= FULL_RECORDS

    def add(self, key: bytes, payload: Buffer, size: int) -> None:
        """One more, which isn't there yet."""
        kept = payload if type(payload) is bytes else bytes(payload)
        self._payloads[key] = (size, kept)
        self._bytes += len(kept)

    def remove(self, key: bytes) -> None:
        """It is written, or needn't be."""
        self._bytes -= len(self._payloads.pop(key)[1])

    def keys(self) -> list[bytes]:
        """All of them."""
        return list(self._payloads)

    def records(self, compressor: Compressor) -> list[Record]:
        """What is to be written."""
        return compressed([(key, payload, size) for key, (size, payload) in self._payloads.items()], compressor)

    def clear(self) -> None:
        """Forget everything."""
        self._payloads.clear()
        self._bytes = 0


def compressed(records: Sequence[Record], compressor: Compressor) -> list[Record]:
    """The same with blobs compressed that aren't yet and where that is worth it."""
    records = list(records)
    tried = [number for number, (key, _payload, size) in enumerate(records) if key[0] == BLOB and not size]
    for number, frame in zip(tried, compressor.compress([records[number][1] for number in tried]), strict=True):
        if frame is not None:
            key, payload, _ = records[number]
            records[number] = (key, frame, len(payload))
    return records
