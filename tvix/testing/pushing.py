"""Services that write into one store and read from another: so that a decorator which fetches is held to the whole of a suite."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from tvix.castore.blobs.interface import BlobReader, BlobService, BlobWriter, Buffer, Chunk
from tvix.castore.digests import Digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directory import Directory


class PushingBlobService:
    """Reads from `reading`, whose far end is `writing`."""

    def __init__(self, reading: BlobService, writing: BlobService) -> None:
        self._reading = reading
        self._writing = writing

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """From `reading`."""
        return self._reading.missing(digests)

    def open(self, digest: Digest) -> BlobReader | None:
        """From `reading`."""
        return self._reading.open(digest)

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """From `reading`."""
        return self._reading.chunks(digest)

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        """From `reading`."""
        return self._reading.read_many(digests)

    def put(self, contents: Buffer) -> Digest:
        """Into `writing`."""
        return self._writing.put(contents)

    def writer(self) -> BlobWriter:
        """Into `writing`."""
        return self._writing.writer()

    def sync(self) -> None:
        """Both."""
        self._writing.sync()
        self._reading.sync()

    def close(self) -> None:
        """`reading` closes its far end."""
        self._reading.close()


class PushingDirectoryService:
    """Reads from `reading`, whose far end is `writing`."""

    def __init__(self, reading: DirectoryService, writing: DirectoryService) -> None:
        self._reading = reading
        self._writing = writing

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """From `reading`."""
        return self._reading.missing(digests)

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        """From `reading`."""
        return self._reading.get_many(digests)

    def closure(self, root: Digest) -> Iterator[Directory]:
        """From `reading`."""
        return self._reading.closure(root)

    def put(self, directories: Iterable[Directory]) -> Digest:
        """Into `writing`."""
        return self._writing.put(directories)

    def sync(self) -> None:
        """Both."""
        self._writing.sync()
        self._reading.sync()

    def close(self) -> None:
        """`reading` closes its far end."""
        self._reading.close()
