"""A source that has everything near, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvix.castore.blobs.memory import BytesReader
from tvix.castore.digests import print_digest
from tvix.castore.tree import DirectoryNotFound
from tvix.mount.source import BlobNotFound, WrongBlobSize, check_size, read_exactly

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tvix.castore.blobs.interface import BlobReader, Buffer
    from tvix.castore.digests import Digest
    from tvix.castore.directory import Directory
    from tvix.mount.source import Done, Polled
    from tvix.mount.tree import Tree
    from tvix.nix_compat.signatures import VerifyingKey
    from tvix.nix_compat.store_path import StorePath, StorePathDigest
    from tvix.store.path_info import PathInfo
    from tvix.store.store import Store

_READERS_MAX = 128


class NearStore:
    """The part of a source that answers at once, out of one store."""

    polled: Polled | None = None

    read_ahead_kib = 1024

    def __init__(self, store: Store) -> None:
        self._near = store
        self._readers: dict[Digest, BlobReader] = {}

    def watch(self, _tree: Tree) -> None:
        """See `Source`: nothing is asked for ahead here."""

    def expect(self, _path: StorePath) -> None:
        """See `Source`: nothing is prepared here."""

    def near_directory(self, digest: Digest) -> Directory | None:
        """See `Source`."""
        return self._near.directories.get_many([digest]).get(digest)

    def near_path(self, digest: StorePathDigest) -> PathInfo | None:
        """See `Source`."""
        return self._near.path_infos.get_many([digest]).get(digest)

    def near_contents(self, digest: Digest, size: int, offset: int, length: int) -> Sequence[Buffer] | None:
        """See `Source`."""
        reader = self._readers.get(digest)
        if reader is None:
            reader = self.open(digest, size)
            if reader is None:
                return None
        elif reader.size != size:
            raise WrongBlobSize(digest=print_digest(digest), actual=reader.size, said=size)
        return (read_exactly(reader, digest, offset, length),)

    def open(self, digest: Digest, size: int) -> BlobReader | None:
        """A reader, remembered but for those that hold the contents: near alone decides what stays in memory."""
        found = self._near.blobs.open(digest)
        if found is None:
            return None
        reader = check_size(found, digest, size)
        if type(found) is not BytesReader:  # opening such a one again is nothing
            while len(self._readers) >= _READERS_MAX:
                self._readers.pop(next(iter(self._readers))).close()
            self._readers[digest] = reader
        return reader


class LocalSource(NearStore):
    """A `Source` of one store that answers at once. `ask_` is for what that store doesn't have."""

    def ask_directory(self, _ticket: int, digest: Digest, done: Done) -> None:
        """See `Source`."""
        done(DirectoryNotFound(digest=print_digest(digest)))

    def ask_path(self, _ticket: int, _digest: StorePathDigest, done: Done) -> None:
        """See `Source`."""
        done(None)

    def ask_paths(self, _ticket: int, done: Done) -> None:
        """See `Source`."""
        done(list(self._near.path_infos.list()))

    def ask_contents(self, _ticket: int, _node: int, digest: Digest, _size: int, _offset: int, _length: int, done: Done) -> None:
        """See `Source`."""
        done(BlobNotFound(digest=print_digest(digest)))

    def leave(self, _ticket: int) -> bool:
        """See `Source`: nobody waits here."""
        return False

    def expire(self) -> None:
        """See `Source`."""

    def root(self, digest: Digest) -> Directory:
        """See `Source`."""
        directory = self.near_directory(digest)
        if directory is None:
            raise DirectoryNotFound(digest=print_digest(digest))
        return directory

    def trusted_root(self, path: StorePath, keys: Sequence[VerifyingKey]) -> Digest:
        """See `Source`."""
        from tvix.store.closure_roots.trust import trusted_root

        return trusted_root(self._near, path, keys)

    def closure_of(self, path: StorePath) -> Directory:
        """See `Source`."""
        from tvix.store.closure import closure, closure_directory

        return closure_directory(closure(self._near.path_infos, [path]).values())

    def counters(self) -> Mapping[str, object]:
        """See `Source`."""
        return {}

    def close(self) -> None:
        """See `Source`."""

    def join(self, seconds: float) -> None:
        """See `Source`."""
