"""Where a mount gets directories, contents and path infos from: near at once, else from far, which may take a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvix.castore.blobs.interface import CorruptBlob
from tvix.castore.blobs.memory import BytesReader
from tvix.castore.digests import print_digest
from tvix.castore.tree import DirectoryNotFound
from tvix.errors import EX_NOINPUT, TvixError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tvix.castore.blobs.interface import BlobReader, Buffer
    from tvix.castore.digests import Digest
    from tvix.castore.directory import Directory
    from tvix.nix_compat.store_path import StorePath, StorePathDigest
    from tvix.store.path_info import PathInfo
    from tvix.store.store import Store

_READERS_MAX = 128


class BlobNotFound(TvixError):
    """A blob that a directory names is not in the store."""

    identifier = "mount.blob-not-found"
    message = "blob {digest} is not in the store"
    hint = "its tree was stored only in part, or in another store"
    exit_code = EX_NOINPUT


class WrongBlobSize(TvixError):
    """A directory says of a file that it has another size than its blob."""

    identifier = "mount.wrong-blob-size"
    message = "blob {digest} has {actual} bytes where a directory says {said}"
    hint = "whoever made the directory is wrong or lies; import the path again"
    exit_code = CorruptBlob.exit_code


class Source:
    """`whole` is everything; `near` is the part of it that answers at once, None where all of it does."""

    def __init__(self, whole: Store, near: Store | None = None) -> None:
        self._whole = whole
        self._near = near or whole
        self.all_is_near = near is None
        self._readers: dict[Digest, BlobReader] = {}
        self._far_readers: dict[Digest, BlobReader] = {}

    # What is near. One thread calls these.

    def near_directory(self, digest: Digest) -> Directory | None:
        """The directory if it is near."""
        return self._near.directories.get_many([digest]).get(digest)

    def near_path(self, digest: StorePathDigest) -> PathInfo | None:
        """The path info if it is near."""
        return self._near.path_infos.get_many([digest]).get(digest)

    def near_reader(self, digest: Digest, size: int) -> BlobReader | None:
        """The contents of a file if they are near. Raises `WrongBlobSize`."""
        reader = self._readers.get(digest)
        if reader is None:
            found = self._near.blobs.open(digest)
            if found is None:
                return None
            reader = _check_size(found, digest, size)
            self._far_readers.pop(digest, None)
            if type(found) is BytesReader:
                return reader  # it holds the contents, which near alone decides on; opening it again is nothing
            while len(self._readers) >= _READERS_MAX:
                self._readers.pop(next(iter(self._readers))).close()
            self._readers[digest] = reader
        return reader

    # What may be far. Any thread calls these, and each may take a round trip or many.

    def fetch_directories(self, root: Digest) -> dict[Digest, Directory]:
        """A directory and all below it, in one call. Raises `DirectoryNotFound`, and what the store raises."""
        found = {directory.digest: directory for directory in self._whole.directories.closure(root)}
        if root not in found:
            raise DirectoryNotFound(digest=print_digest(root))
        return found

    def fetch_path(self, digest: StorePathDigest) -> PathInfo | None:
        """The path info, None where the store doesn't have it."""
        return self._whole.path_infos.get_many([digest]).get(digest)

    def closure_of(self, path: StorePath) -> Directory:
        """The directory of a store path and all it refers to. Raises `PathNotFound`, `MissingReference`."""
        from tvix.store.closure import closure, closure_directory

        return closure_directory(closure(self._whole.path_infos, [path]).values())

    def list_paths(self) -> Iterable[PathInfo]:
        """Every path info of the store."""
        return list(self._whole.path_infos.list())

    def fetch_reader(self, digest: Digest, size: int) -> BlobReader:
        """The contents of a file, on their way. Raises `BlobNotFound`, `WrongBlobSize`, and what the store raises."""
        reader = self._far_readers.get(digest)
        if reader is None:
            found = self._whole.blobs.open(digest)
            if found is None:
                raise BlobNotFound(digest=print_digest(digest))
            reader = _check_size(found, digest, size)
            reader.read_at(0, 1)  # opening moves no contents: this does, once for all who wait
            if not self._near.blobs.missing([digest]):
                return reader  # near has it now
            while len(self._far_readers) >= _READERS_MAX:
                self._far_readers.pop(next(iter(self._far_readers)))
            self._far_readers[digest] = reader
        return reader


def read_exactly(reader: BlobReader, digest: Digest, offset: int, length: int) -> Buffer:
    """`length` bytes from `offset`, which must lie inside. Raises `WrongBlobSize` where the reader gives fewer."""
    contents = reader.read_at(offset, length)
    if len(contents) != length:
        raise WrongBlobSize(digest=print_digest(digest), actual=offset + len(contents), said=offset + length)
    return contents


def _check_size(reader: BlobReader, digest: Digest, size: int) -> BlobReader:
    if reader.size != size:
        actual = reader.size
        reader.close()
        raise WrongBlobSize(digest=print_digest(digest), actual=actual, said=size)
    return reader
