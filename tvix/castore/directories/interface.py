"""What a directory store can do.

Directories are handed out verified: the digest is that of the encoding, the encoding is canonical.
Implementations are safe to share between threads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from tvix.castore.digests import Digest
from tvix.castore.directory import Directory
from tvix.errors import EX_DATAERR, TvixError


class CorruptDirectory(TvixError):
    """A directory that doesn't hash to the name it was asked for by."""

    identifier = "castore.corrupt-directory"
    message = "directory {digest} from {origin} {reason}: refused"
    hint = "the origin is damaged or lies; take it out of the store's configuration"
    exit_code = EX_DATAERR


class IncompleteClosure(TvixError):
    """Something refers to a directory that is not there."""

    identifier = "castore.incomplete-closure"
    message = "directory {digest} refers to {missing}, which is not in {origin}"
    hint = "store the directories below it first; an interrupted copy can simply be repeated"
    exit_code = EX_DATAERR


class WrongDirectorySize(TvixError):
    """A directory says of a child that it has another size than it has."""

    identifier = "castore.wrong-directory-size"
    message = "directory {digest} says that {child} has size {said}; it has {actual}"
    exit_code = EX_DATAERR


class DirectoryService(Protocol):
    """A set of directories that only grows, closed downwards: what is here has its children here.

    What was written is visible through this object at once, and durable and visible to others after `sync`.
    """

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are not here: one round trip, however many."""

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        """Those of `digests` that are here. Raises `CorruptDirectory`, `StoreUnavailable`."""

    def closure(self, root: Digest) -> Iterator[Directory]:
        """The directory and all below it, parents first, each once; nothing where the root is not here.

        Raises `IncompleteClosure` when the stream ends before all is told.
        """

    def put(self, directories: Iterable[Directory]) -> Digest:
        """Store a tree, children before parents, and say the digest of the last, its root.

        A child must have come before in `directories` or be stored already, with the size its parent says (either count, see
        `tvix.castore.directory`). Raises `IncompleteClosure`, `WrongDirectorySize`, and `ValueError` for an empty stream.
        """

    def sync(self) -> None:
        """Make everything written so far durable, and visible to other processes."""

    def close(self) -> None:
        """Sync, and let go of files and connections."""
