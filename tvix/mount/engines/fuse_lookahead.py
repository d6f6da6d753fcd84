"""Listings made before they are asked for, while the loop has nothing else to do.

Who walks a tree asks for one directory after the other and sleeps in between. Meanwhile the directories that come next, the first
below the one just listed and its next siblings, are opened up and their listings made, from what is near alone. Nothing is made
unless something was listed, and never more than a few ahead.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from tvix.castore.digests import Digest
from tvix.errors import TvixError
from tvix.mount.engines.fuse_replies import LEAN
from tvix.mount.node_table import DIRECTORY, ROOT, SLOT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tvix.mount.engines.fuse_replies import Replies
    from tvix.mount.source import Source
    from tvix.mount.tree import Tree

SIBLINGS = 16
CHILDREN = 2
_PREPARED_MAX = 64
_PARENTS_MAX = 8


class Listing(NamedTuple):
    """The names and numbers in a directory, and the reply that tells them from the first on, its header still to be written."""

    items: Sequence[tuple[bytes, int]]
    reply: bytes


class LookAhead:
    """Prepared listings of one tree. Used by the loop's thread alone."""

    def __init__(self, tree: Tree, source: Source, replies: Replies) -> None:
        self._tree = tree
        self._source = source
        self._replies = replies
        self._prepared: dict[int, Listing] = {}
        self._parents: dict[int, list[int]] = {}
        self._listed: int | None = None
        self._room = 0
        self._next: Iterator[int] = iter(())

    def take(self, number: int, room: int) -> Listing | None:
        """The listing of a directory if it was prepared and fits in `room`. It is handed out once: the kernel keeps it."""
        prepared = self._prepared.pop(number, None)
        return prepared if prepared is not None and len(prepared.reply) <= room else None

    def listed(self, number: int, room: int) -> None:
        """A directory was listed, with `room` bytes for the reply: look ahead from there."""
        self._listed = number
        self._room = room

    def step(self) -> bool:
        """Do a little, some 50 µs at most but in huge directories; False when there is nothing to do."""
        if self._listed is not None:
            self._next = iter(self._candidates(self._listed))
            self._listed = None
            return True
        for number in self._next:
            if number not in self._tree.names:
                self._prepare(number)
                return True
        return False

    def _candidates(self, number: int) -> list[int]:
        """The directories that a walk is likely to list next."""
        below = self._directories_in(number)[:CHILDREN]
        parent = self._tree.table.record(number)[1]
        if number == ROOT or (parent == ROOT and self._tree.is_store):
            return below
        siblings = self._directories_in(parent)
        at = bisect_right(siblings, number)
        return below + siblings[at : at + SIBLINGS]

    def _directories_in(self, number: int) -> list[int]:
        """The numbers of the directories in a directory, which ascend as the names do."""
        known = self._parents.get(number)
        if known is None:
            memory = self._tree.table.memory
            known = [node for node in self._tree.names.get(number, {}).values() if memory[node * SLOT_BYTES] == DIRECTORY]
            while len(self._parents) >= _PARENTS_MAX:
                del self._parents[next(iter(self._parents))]
        else:
            del self._parents[number]
        self._parents[number] = known  # the one used last goes last
        return known

    def _prepare(self, number: int) -> None:
        try:
            directory = self._source.near_directory(Digest(self._tree.table.record(number)[4]))
            if directory is None:
                return
            items = list(self._tree.adopt(number, directory).items())
            reply = self._replies.listing(0, number, items, 0, self._room, LEAN)
        except TvixError:
            return  # whoever asks for it will be told
        while len(self._prepared) >= _PREPARED_MAX:
            del self._prepared[next(iter(self._prepared))]
        self._prepared[number] = Listing(items, reply)
