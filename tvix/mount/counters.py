"""What a mount has done so far, in numbers; and a far store that counts what is asked of it."""

from __future__ import annotations

from time import monotonic, time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tvix.castore.blobs.interface import BlobReader, BlobService, BlobWriter, Buffer, Chunk
    from tvix.castore.digests import Digest
    from tvix.castore.directories.interface import DirectoryService
    from tvix.castore.directory import Directory
    from tvix.castore.nodes import Node
    from tvix.nix_compat.store_path import StorePathDigest
    from tvix.store.path_info import PathInfo
    from tvix.store.path_infos.interface import NarSummary, PathInfoService
    from tvix.store.store import Store

_OPERATIONS = 64


class Counters:
    """Counts that only grow. Two threads that count at once may lose a count: they are for people."""

    __slots__ = ("bytes_fetched", "bytes_read", "errors", "heard", "last_error", "requests", "round_trips", "started")

    def __init__(self) -> None:
        self.started = time()
        self.heard = monotonic()
        """When the far end last said anything."""
        self.requests = [0] * _OPERATIONS
        """By operation code."""
        self.bytes_read = 0
        """Of file contents, given to the kernel."""
        self.bytes_fetched = 0
        """Of file contents and directories, taken from far."""
        self.round_trips = 0
        """Calls made to far."""
        self.errors = 0
        """Requests answered with EIO."""
        self.last_error = ""

    def as_json(self, operations: Mapping[int, str]) -> dict[str, object]:
        """The shape that status files and `tvix mount --stats` share; it only grows. `operations` names operation codes."""
        by_name = {operations.get(code, str(code)).lower(): count for code, count in enumerate(self.requests) if count}
        return {
            "v": 1,
            "started": self.started,
            "requests": by_name,
            "requestsTotal": sum(self.requests),
            "bytesRead": self.bytes_read,
            "bytesFetched": self.bytes_fetched,
            "roundTrips": self.round_trips,
            "errors": self.errors,
            "lastError": self.last_error,
        }

    def fetched(self, count: int) -> None:
        """`count` bytes came from far."""
        self.bytes_fetched += count
        self.heard = monotonic()

    def asked(self) -> None:
        """A call to far was answered."""
        self.round_trips += 1
        self.heard = monotonic()


class _CountedReader:
    """A `BlobReader` that counts its bytes."""

    def __init__(self, reader: BlobReader, counters: Counters) -> None:
        self._reader = reader
        self._counters = counters

    @property
    def size(self) -> int:
        return self._reader.size

    def read_at(self, offset: int, length: int) -> Buffer:
        """See `BlobReader`."""
        contents = self._reader.read_at(offset, length)
        self._counters.fetched(len(contents))
        return contents

    def close(self) -> None:
        """See `BlobReader`."""
        self._reader.close()


class CountedBlobs:
    """A `BlobService` that counts what passes; `service` does the work."""

    def __init__(self, service: BlobService, counters: Counters) -> None:
        self._service = service
        self._counters = counters

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `BlobService`."""
        absent = self._service.missing(digests)
        self._counters.asked()
        return absent

    def open(self, digest: Digest) -> BlobReader | None:
        """See `BlobService`."""
        reader = self._service.open(digest)
        self._counters.asked()
        return None if reader is None else _CountedReader(reader, self._counters)

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """See `BlobService`."""
        chunks = self._service.chunks(digest)
        self._counters.asked()
        return chunks

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        """See `BlobService`."""
        self._counters.asked()
        for digest, contents in self._service.read_many(digests):
            self._counters.fetched(len(contents or b""))
            yield digest, contents

    def put(self, contents: Buffer) -> Digest:
        """See `BlobService`."""
        return self._service.put(contents)

    def writer(self) -> BlobWriter:
        """See `BlobService`."""
        return self._service.writer()

    def sync(self) -> None:
        """See `BlobService`."""
        self._service.sync()

    def close(self) -> None:
        """See `BlobService`."""
        self._service.close()


class CountedDirectories:
    """A `DirectoryService` that counts what passes; `service` does the work."""

    def __init__(self, service: DirectoryService, counters: Counters) -> None:
        self._service = service
        self._counters = counters

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `DirectoryService`."""
        absent = self._service.missing(digests)
        self._counters.asked()
        return absent

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        """See `DirectoryService`."""
        found = self._service.get_many(digests)
        self._counters.asked()
        self._counters.fetched(sum(len(directory.encoded) for directory in found.values()))
        return found

    def closure(self, root: Digest) -> Iterator[Directory]:
        """See `DirectoryService`."""
        self._counters.asked()
        for directory in self._service.closure(root):
            self._counters.fetched(len(directory.encoded))
            yield directory

    def put(self, directories: Iterable[Directory]) -> Digest:
        """See `DirectoryService`."""
        return self._service.put(directories)

    def sync(self) -> None:
        """See `DirectoryService`."""
        self._service.sync()

    def close(self) -> None:
        """See `DirectoryService`."""
        self._service.close()


class CountedPathInfos:
    """A `PathInfoService` that counts what passes; `service` does the work."""

    def __init__(self, service: PathInfoService, counters: Counters) -> None:
        self._service = service
        self._counters = counters

    def get_many(self, digests: Collection[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        """See `PathInfoService`."""
        found = self._service.get_many(digests)
        self._counters.asked()
        return found

    def put_many(self, infos: Iterable[PathInfo]) -> list[PathInfo]:
        """See `PathInfoService`."""
        return self._service.put_many(infos)

    def closure(self, digests: Collection[StorePathDigest]) -> Iterator[PathInfo] | None:
        """See `ClosureService`; None where `service` is none."""
        closure = getattr(self._service, "closure", None)
        if closure is None:
            return None
        found: Iterator[PathInfo] | None = closure(digests)
        if found is not None:
            self._counters.asked()
        return found

    def list(self) -> Iterator[PathInfo]:
        """See `PathInfoService`."""
        self._counters.asked()
        yield from self._service.list()

    def calculate_nar(self, node: Node) -> NarSummary:
        """See `PathInfoService`."""
        return self._service.calculate_nar(node)

    def sync(self) -> None:
        """See `PathInfoService`."""
        self._service.sync()

    def close(self) -> None:
        """See `PathInfoService`."""
        self._service.close()


def counted(store: Store, counters: Counters) -> Store:
    """The same store, with everything that is asked of it counted."""
    return type(store)(
        CountedBlobs(store.blobs, counters),
        CountedDirectories(store.directories, counters),
        CountedPathInfos(store.path_infos, counters),
        store.hot_sets,
        store.closure_roots,
    )
