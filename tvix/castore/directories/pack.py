"""Directories in a pack store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from tvix.castore.digests import Digest
from tvix.castore.directories.order import Sizes, breadth_first, children_first, sizes_of
from tvix.castore.directory import Directory
from tvix.castore.pack.format import DIRECTORY
from tvix.castore.pack.store import PackStore


class PackDirectoryService:
    """A `DirectoryService` over a `PackStore`. Where that is partial, a directory may be here and one below it not."""

    def __init__(self, store: PackStore) -> None:
        self._store = store

    @property
    def partial(self) -> bool:
        """Whether directories may lack others below them: the store is the near end of something."""
        return self._store.partial

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `DirectoryService`."""
        return self._store.missing(DIRECTORY, digests)  # type: ignore[return-value]

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        """See `DirectoryService`. Raises `DamagedPack`, `StoreFailed`."""
        asked = list(digests)
        found = self._store.get_many(DIRECTORY, asked)
        return {
            digest: Directory.trusted(digest, bytes(encoded))
            for digest, encoded in zip(asked, found, strict=True)
            if encoded is not None
        }

    def closure(self, root: Digest) -> Iterator[Directory]:
        """See `DirectoryService`."""
        return breadth_first(root, self.get_many, self._store.path)

    def put(self, directories: Iterable[Directory]) -> Digest:
        """See `DirectoryService`. Raises `DiskFull`, `StoreFailed`, `RecordTooLarge`."""
        last: Digest | None = None
        for directory in children_first(directories, self._sizes, self._store.path):
            last = directory.digest
            self._store.put(DIRECTORY, last, directory.encoded)
        if last is None:
            raise ValueError("no directories to store")
        return last

    def sync(self) -> None:
        """See `DirectoryService`. Raises `DiskFull`, `StoreFailed`."""
        self._store.sync()

    def close(self) -> None:
        """See `DirectoryService`. Closes the store, which other services may share: close them together."""
        self._store.close()

    def _sizes(self, digests: Collection[Digest]) -> dict[Digest, Sizes]:
        return {digest: sizes_of(directory) for digest, directory in self.get_many(digests).items()}
