"""Directories in memory: for tests, for one-off runs, and as the near end of a machine that has nothing but memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from tvix.castore.digests import Digest
from tvix.castore.directories.order import Sizes, breadth_first, children_first, sizes_of
from tvix.castore.directory import Directory

_ORIGIN = "memory"


class MemoryDirectoryService:
    """A `DirectoryService` that forgets nothing."""

    def __init__(self) -> None:
        self._directories: dict[Digest, Directory] = {}

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `DirectoryService`."""
        return {digest for digest in digests if digest not in self._directories}

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        """See `DirectoryService`."""
        directories = self._directories
        return {digest: directories[digest] for digest in digests if digest in directories}

    def closure(self, root: Digest) -> Iterator[Directory]:
        """See `DirectoryService`."""
        return breadth_first(root, self.get_many, _ORIGIN)

    def put(self, directories: Iterable[Directory]) -> Digest:
        """See `DirectoryService`."""
        last: Digest | None = None
        for directory in children_first(directories, self._sizes, _ORIGIN):
            last = directory.digest
            self._directories[last] = directory
        if last is None:
            raise ValueError("no directories to store")
        return last

    def sync(self) -> None:
        """Memory is as durable as it gets."""

    def close(self) -> None:
        """Nothing to let go of."""

    def _sizes(self, digests: Collection[Digest]) -> dict[Digest, Sizes]:
        return {digest: sizes_of(directory) for digest, directory in self.get_many(digests).items()}
