"""A source with a far end whose calls block: what isn't near boards a flight, and a few threads fly.

This is how stores are mounted that speak the published protocols alone, and stores of other packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvix.castore.blobs.contents import bound
from tvix.castore.digests import print_digest
from tvix.castore.tree import DirectoryNotFound
from tvix.mount.flights import Flights
from tvix.mount.local_source import NearStore
from tvix.mount.source import BlobNotFound, check_size, read_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tvix.castore.blobs.interface import BlobReader
    from tvix.castore.digests import Digest
    from tvix.castore.directory import Directory
    from tvix.mount.source import Done
    from tvix.nix_compat.signatures import VerifyingKey
    from tvix.nix_compat.store_path import StorePath, StorePathDigest
    from tvix.store.path_info import PathInfo
    from tvix.store.store import Store

_READERS_MAX = 128


class ThreadedSource(NearStore):
    """`whole` is everything; `near` is the part of it that answers at once.

    A request waits `deadline` seconds for a far end that says nothing; `heard` says when it last did, on the clock of `monotonic`.
    """

    def __init__(self, whole: Store, near: Store, deadline: float, heard: Callable[[], float]) -> None:
        super().__init__(near)
        self._whole = whole
        self._flights = Flights(deadline, heard)
        self._far_readers: dict[Digest, BlobReader] = {}

    def ask_directory(self, ticket: int, digest: Digest, done: Done) -> None:
        """See `Source`."""
        self._flights.board(("directory", digest), ticket, lambda: self.root(digest), done)

    def ask_path(self, ticket: int, digest: StorePathDigest, done: Done) -> None:
        """See `Source`."""
        self._flights.board(("path", digest), ticket, lambda: self._fetch_path(digest), done)

    def ask_paths(self, ticket: int, done: Done) -> None:
        """See `Source`."""
        self._flights.board(("list", b""), ticket, lambda: list(self._whole.path_infos.list()), done)

    def ask_contents(self, ticket: int, _node: int, digest: Digest, size: int, offset: int, length: int, done: Done) -> None:
        """See `Source`. The blob comes as a whole, once for all who wait."""

        def landed(result: object) -> None:
            if not isinstance(result, Exception):
                try:
                    result = (read_exactly(result, digest, offset, length),)  # type: ignore[arg-type]
                except Exception as error:
                    result = error
            done(result)

        self._flights.board(("blob", digest), ticket, lambda: self.fetch_reader(digest, size), landed)

    def leave(self, ticket: int) -> bool:
        """See `Source`."""
        return self._flights.leave(ticket) is not None

    def expire(self) -> None:
        """See `Source`."""
        self._flights.expire()

    def root(self, digest: Digest) -> Directory:
        """See `Source`."""
        directory = self.near_directory(digest)
        if directory is None:
            found = {directory.digest: directory for directory in self._whole.directories.closure(digest)}
            directory = found.get(digest)
        if directory is None:
            raise DirectoryNotFound(digest=print_digest(digest))
        return directory

    def trusted_root(self, path: StorePath, keys: Sequence[VerifyingKey]) -> Digest:
        """See `Source`."""
        from tvix.store.closure_roots.trust import trusted_root

        return trusted_root(self._whole, path, keys)

    def closure_of(self, path: StorePath) -> Directory:
        """See `Source`."""
        from tvix.store.closure import closure, closure_directory

        return closure_directory(closure(self._whole.path_infos, [path]).values())

    def counters(self) -> Mapping[str, object]:
        """See `Source`."""
        return {}

    def close(self) -> None:
        """See `Source`."""
        self._flights.close()

    def join(self, seconds: float) -> None:
        """See `Source`."""
        self._flights.join(seconds)

    def fetch_reader(self, digest: Digest, size: int) -> BlobReader:
        """The contents of a file, on their way. Raises `BlobNotFound`, `WrongBlobSize`, and what the store raises."""
        reader = self._far_readers.get(digest)
        if reader is None:
            found = self._whole.blobs.open(digest)
            if found is None:
                raise BlobNotFound(digest=print_digest(digest))
            bound(found, size)
            reader = check_size(found, digest, size)
            reader.read_at(0, 1)  # opening moves no contents: this does, once for all who wait
            if not self._near.blobs.missing([digest]):
                self._far_readers.pop(digest, None)
                return reader  # near has it now
            while len(self._far_readers) >= _READERS_MAX:
                self._far_readers.pop(next(iter(self._far_readers)))
            self._far_readers[digest] = reader
        return reader

    def _fetch_path(self, digest: StorePathDigest) -> PathInfo | None:
        return self._whole.path_infos.get_many([digest]).get(digest)
