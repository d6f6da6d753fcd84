"""Two directory stores as one. The first miss fetches the whole closure below it from far in one call and keeps it near.

Far need not be trusted: every directory must hash to the name that its parent, or the caller, knows it by, be canonical, and have
the size that its parent says; the closure must be complete. Nothing is near before all of that is known. Writes go near alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial

from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.directories.interface import CorruptDirectory, DirectoryService, IncompleteClosure
from tvix.castore.directories.order import breadth_first, leaves_first, parents_first
from tvix.castore.directory import Directory, InvalidDirectory
from tvix.castore.flights import Flights
from tvix.castore.pack.format import DiskFull, StoreFailed


class NearFarDirectoryService:
    """A `DirectoryService` of `near` in front of `far`; `far_name` is the address that errors name."""

    def __init__(self, near: DirectoryService, far: DirectoryService, far_name: str) -> None:
        self._near = near
        self._far = far
        self._far_name = far_name
        self._far_verifies: bool = getattr(far, "verifies", False)
        self._flights: Flights[Digest, dict[Digest, Directory]] = Flights()

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `DirectoryService`. Raises `StoreUnavailable` where near alone can't tell."""
        absent_near = self._near.missing(digests)
        return self._far.missing(absent_near) if absent_near else absent_near

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        """See `DirectoryService`. Raises `CorruptDirectory`, `IncompleteClosure`, `WrongDirectorySize`, `StoreUnavailable`."""
        found = self._near.get_many(digests)
        absent = [digest for digest in dict.fromkeys(digests) if digest not in found]
        fetched: dict[Digest, Directory] = {}
        for digest in absent:
            if digest not in fetched:  # one may be below another; or another thread was faster
                fetched.update(self._near.get_many([digest]) or self._flights.run(digest, partial(self._fetch, digest)))
        found.update((digest, fetched[digest]) for digest in absent if digest in fetched)
        return found

    def closure(self, root: Digest) -> Iterator[Directory]:
        """See `DirectoryService`. Raises as `get_many` does, before the first directory is handed out."""
        if not self._near.missing([root]):
            if not getattr(self._near, "partial", False):
                return self._near.closure(root)
            with suppress(IncompleteClosure):
                told = list(self._near.closure(root))  # whole, or it isn't here
                if told:
                    return iter(told)
        fetched = self._flights.run(root, partial(self._fetch, root))
        return breadth_first(root, lambda digests: {digest: fetched[digest] for digest in digests if fetched}, self._far_name)

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

    def _fetch(self, root: Digest) -> dict[Digest, Directory]:
        """The closure of `root`, kept near if near takes it; nothing where far doesn't have it."""
        told = self._far.closure(root)
        if not self._far_verifies:
            told = parents_first(root, self._checked(told), self._far_name)
        fetched = {directory.digest: directory for directory in told}
        if fetched:
            with suppress(DiskFull, StoreFailed):  # it was verified, and can be read without being kept
                self._near.put(leaves_first(root, fetched))
        return fetched

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
