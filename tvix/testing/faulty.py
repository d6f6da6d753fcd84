"""Stores that fail and lie, for everything that must survive them.

Each fault is an attribute that a test sets; without faults they pass everything through. `calls` counts what was asked, by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from threading import Event

from tvix.castore.blobs.interface import BlobReader, BlobService, BlobWriter, Buffer, Chunk, StoreUnavailable
from tvix.castore.digests import Digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directory import Directory

Mangle = Callable[[bytes], bytes]


def unavailable() -> StoreUnavailable:
    """What a store that is away raises."""
    return StoreUnavailable(origin="faulty:", reason="a test says so")


class FaultyBlobService:
    """A `BlobService` over `inner`."""

    def __init__(self, inner: BlobService) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.down = False
        """Every call raises `StoreUnavailable`."""
        self.down_after_reads: int | None = None
        """So many reads work, then `StoreUnavailable`."""
        self.mangle: Mangle | None = None
        """What the store makes of a blob's contents: sizes follow."""
        self.said_size: int | None = None
        """What readers say their size is."""
        self.said_chunks: Sequence[Chunk] | None = None
        """The chunk list that is told of every blob."""
        self.claims_everything = False
        """A blob that isn't there is said to be there and empty."""
        self.swaps_answers = False
        """`read_many` answers with the right blobs under the wrong names."""
        self.gate: Event | None = None
        """Reads wait for it, and say by `reached` that they do."""
        self.reached = Event()

    def _asked(self, name: str) -> None:
        self.calls[name] += 1
        if self.down:
            raise unavailable()

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `BlobService`."""
        self._asked("missing")
        return set() if self.claims_everything else self.inner.missing(digests)

    def open(self, digest: Digest) -> BlobReader | None:
        """See `BlobService`."""
        self._asked("open")
        reader = self.inner.open(digest)
        if reader is None:
            return _FaultyReader(self, b"") if self.claims_everything else None
        contents = bytes(reader.read_at(0, reader.size))
        reader.close()
        return _FaultyReader(self, self.mangle(contents) if self.mangle else contents)

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """See `BlobService`."""
        self._asked("chunks")
        return self.inner.chunks(digest) if self.said_chunks is None else self.said_chunks

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        """See `BlobService`."""
        self._asked("read_many")
        asked = list(digests)
        found = list(self.inner.read_many(asked))
        if self.mangle is not None:
            found = [(digest, None if blob is None else self.mangle(bytes(blob))) for digest, blob in found]
        if self.swaps_answers:
            found = [(digest, blob) for digest, (_, blob) in zip(asked, reversed(found), strict=True)]
        yield from found

    def put(self, contents: Buffer) -> Digest:
        """See `BlobService`."""
        self._asked("put")
        return self.inner.put(contents)

    def writer(self) -> BlobWriter:
        """See `BlobService`."""
        self._asked("writer")
        return self.inner.writer()

    def sync(self) -> None:
        """See `BlobService`."""
        self._asked("sync")
        self.inner.sync()

    def close(self) -> None:
        """See `BlobService`."""
        self.inner.close()


class _FaultyReader:
    def __init__(self, service: FaultyBlobService, contents: bytes) -> None:
        self._service = service
        self._contents = contents

    @property
    def size(self) -> int:
        return len(self._contents) if self._service.said_size is None else self._service.said_size

    def read_at(self, offset: int, length: int) -> Buffer:
        service = self._service
        service.calls["read_at"] += 1
        if service.gate is not None:
            service.reached.set()
            service.gate.wait()
        if service.down or (service.down_after_reads is not None and service.calls["read_at"] > service.down_after_reads):
            raise unavailable()
        return self._contents[offset : offset + length]

    def close(self) -> None:
        self._service.calls["close"] += 1


class FaultyDirectoryService:
    """A `DirectoryService` over `inner`."""

    def __init__(self, inner: DirectoryService) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.down = False
        """Every call raises `StoreUnavailable`."""
        self.mangle: Callable[[list[Directory]], list[Directory]] | None = None
        """What the store makes of a closure."""
        self.down_after: int | None = None
        """A closure breaks off with `StoreUnavailable` after so many directories."""
        self.gate: Event | None = None
        """Closures wait for it, and say by `reached` that they do."""
        self.reached = Event()

    def _asked(self, name: str) -> None:
        self.calls[name] += 1
        if self.down:
            raise unavailable()

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `DirectoryService`."""
        self._asked("missing")
        return self.inner.missing(digests)

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        """See `DirectoryService`."""
        self._asked("get_many")
        return self.inner.get_many(digests)

    def closure(self, root: Digest) -> Iterator[Directory]:
        """See `DirectoryService`."""
        self._asked("closure")
        if self.gate is not None:
            self.reached.set()
            self.gate.wait()
        told = list(self.inner.closure(root))
        for number, directory in enumerate(self.mangle(told) if self.mangle else told):
            if self.down_after is not None and number >= self.down_after:
                raise unavailable()
            yield directory

    def put(self, directories: Iterable[Directory]) -> Digest:
        """See `DirectoryService`."""
        self._asked("put")
        return self.inner.put(directories)

    def sync(self) -> None:
        """See `DirectoryService`."""
        self._asked("sync")
        self.inner.sync()

    def close(self) -> None:
        """See `DirectoryService`."""
        self.inner.close()
