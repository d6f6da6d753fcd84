"""Two directory stores as one. The first miss fetches the whole closure below it from far in one call and keeps it near.

Far need not be trusted: every directory must hash to the name that its parent, or the caller, knows it by, be canonical, and have
the size that its parent says; the closure must be complete. Nothing is near before all of that is known. Writes go near alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.directories.interface import CorruptDirectory, DirectoryService
from tvix.castore.directories.order import leaves_first, parents_first
from tvix.castore.directory import Directory, InvalidDirectory
from tvix.castore.flights import Flights


class NearFarDirectoryService:
    """A `DirectoryService` of `near` in front of `far`; `far_name` is the address that errors name."""

    def __init__(self, near: DirectoryService, far: DirectoryService, far_name: str) -> None:
        self._near = near
        self._far = far
        self._far_name = far_name
        self._flights: Flights[Digest, bool] = Flights()

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `DirectoryService`. Raises `StoreUnavailable` where near alone can't tell."""
        absent_near = self._near.missing(digests)
        return self._far.missing(absent_near) if absent_near else absent_near

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        """See `DirectoryService`. Raises `CorruptDirectory`, `IncompleteClosure`, `WrongDirectorySize`, `StoreUnavailable`."""
        found = self._near.get_many(digests)
        absent = [digest for digest in dict.fromkeys(digests) if digest not in found]
        fetched = [digest for digest in absent if self._have(digest)]
        if fetched:
            found.update(self._near.get_many(fetched))
        return found

    def closure(self, root: Digest) -> Iterator[Directory]:
        """See `DirectoryService`. Raises as `get_many` does, before the first directory is handed out."""
        self._have(root)
        return self._near.closure(root)

    def put(self, directories: Iterable[Directory]) -> Digest:
        """See `DirectoryService`: near alone."""
        return self._near.put(directories)

    def sync(self) -> None:
        """See `DirectoryService`: near alone, since nothing is written far."""
        self._near.sync()

    def close(self) -> None:
        """See `DirectoryService`: both."""
        self._near.close()
        self._far.close()

    def _have(self, root: Digest) -> bool:
        """Have the closure of `root` near; whether there is one."""
        return not self._near.missing([root]) or self._flights.run(root, lambda: self._fetch(root))

    def _fetch(self, root: Digest) -> bool:
        if not self._near.missing([root]):
            return True
        fetched = {
            directory.digest: directory for directory in parents_first(root, self._checked(self._far.closure(root)), self._far_name)
        }
        if fetched:
            self._near.put(leaves_first(root, fetched))
        return bool(fetched)

    def _checked(self, directories: Iterable[Directory]) -> Iterator[Directory]:
        for directory in directories:
            if directory.checked:
                yield directory
                continue
            try:
                yield Directory.decode(directory.encoded)
            except InvalidDirectory as error:
                digest = print_digest(digest_of(directory.encoded))
                raise CorruptDirectory(digest=digest, origin=self._far_name, reason=f"is {error}") from None
