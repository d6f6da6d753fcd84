"""Payloads that were put and are not written yet: collected, then compressed and written many at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager

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
        self.bytes = 0
        """In all payloads."""
        self._plain: set[bytes] = set()  # keys of blobs that aren't worth compressing

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
        return self.bytes >= FULL_BYTES or len(self._payloads) >= FULL_RECORDS

    def add(self, key: bytes, payload: Buffer, size: int) -> None:
        """One more, which isn't there yet."""
        kept = payload if type(payload) is bytes else bytes(payload)
        self._payloads[key] = (size, kept)
        self.bytes += len(kept)

    def remove(self, key: bytes) -> None:
        """It is written, or needn't be."""
        self.bytes -= len(self._payloads.pop(key)[1])
        self._plain.discard(key)

    def keys(self) -> list[bytes]:
        """All of them."""
        return list(self._payloads)

    def records(self, compressor: Compressor) -> list[Record]:
        """What is to be written."""
        return compressed([(key, payload, size) for key, (size, payload) in self._payloads.items()], compressor, self._plain)

    def compress(self, compressor: Compressor, lock: AbstractContextManager[object]) -> None:
        """Do beforehand what `records` would, in another thread: `lock` is held but for the work."""
        with lock:
            before = [(key, payload, size) for key, (size, payload) in self._payloads.items() if key[0] == BLOB and not size]
            before = [record for record in before if record[0] not in self._plain]
        after = compressed(before, compressor)
        with lock:
            for (key, payload, _), (_, frame, size) in zip(before, after, strict=True):
                if self._payloads.get(key) != (0, payload):
                    continue  # it is written meanwhile
                if size:
                    self._payloads[key] = (size, bytes(frame))
                    self.bytes -= len(payload) - len(frame)
                else:
                    self._plain.add(key)

    def clear(self) -> None:
        """Forget everything."""
        self._payloads.clear()
        self._plain.clear()
        self.bytes = 0


def compressed(records: Sequence[Record], compressor: Compressor, plain: Collection[bytes] = ()) -> list[Record]:
    """The same with blobs compressed that aren't yet and where that is worth it; of those in `plain` it is known not to be."""
    records = list(records)
    tried = [number for number, (key, _payload, size) in enumerate(records) if key[0] == BLOB and not size and key not in plain]
    for number, frame in zip(tried, compressor.compress([records[number][1] for number in tried]), strict=True):
        if frame is not None:
            key, payload, _ = records[number]
            records[number] = (key, frame, len(payload))
    return records
