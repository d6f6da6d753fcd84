"""What is asked for before anybody reads it, and in which order.

What a process waits for comes first; then what is likely to be next (siblings, and what follows in the same file); then what was
read the last time; then all there is. Looking a name up asks for nothing: programs look up much that they never read.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Protocol

from tvix.castore.digests import Digest
from tvix.castore.nodes import DirectoryNode, FileNode
from tvix.castore.transfer.messages import CLOSURE, SIBLINGS
from tvix.mount.node_table import EXECUTABLE, FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tvix.castore.directory import Directory
    from tvix.mount.tree import Tree

CLOSURE_BYTES_MAX = 64 << 20
"""Up to this size, all of a closure is sent behind demand where nothing is recorded of it."""
SIBLING_BYTES_MAX = 64 << 10
"""Larger files aren't fetched because their neighbour was read."""
SIBLINGS_BYTES_MAX = 1 << 20
"""Of one directory."""
WHOLE_BYTES_MAX = 8 << 20
"""Of a file up to this size everything is fetched once somebody waits for a part: libraries are read here and there."""
_AHEAD_BYTES = 1 << 20
"""Of a larger file, so much behind what is waited for."""
_FILES_AT_ONCE = 256

NOTHING, DEMAND, HOT, AUTO = "none", "demand", "hot", "auto"
MODES = (AUTO, HOT, DEMAND, NOTHING)
"""Everything below; what was recorded, and neighbours; neighbours; nothing but directories, which always come as a closure."""


class Prefetcher(Protocol):
    """Who asks."""

    def prefetch(self, blobs: Iterable[tuple[Digest, int]], priority: int) -> None:
        """Have blobs of known sizes come, unless they are here or on their way."""

    def prefetch_range(self, digest: Digest, size: int, offset: int, length: int, priority: int) -> None:
        """The same for a range of a blob."""


class Policy:
    """Decides for one tree. Used by the loop's thread alone. `mode` is one of `MODES`."""

    def __init__(self, mode: str, far: Prefetcher, directory: Callable[[Digest], Directory | None]) -> None:
        self.pushes = mode in (AUTO, HOT)
        """Whether recorded accesses are wanted."""
        self._neighbours = mode != NOTHING
        self._everything = mode == AUTO
        self._recorded = False
        self._room = CLOSURE_BYTES_MAX
        self._far = far
        self._directory = directory
        self._tree: Tree | None = None
        self._seen: set[int] = set()
        self._ahead: dict[Digest, int] = {}
        self._walks: list[Iterator[tuple[Digest, int]]] = []

    def watch(self, tree: Tree) -> None:
        """The tree whose siblings are meant."""
        self._tree = tree

    def opened(self, root: Digest, recorded: bool) -> None:
        """A closure's directories have come; `recorded` is whether the server pushes what was read of it the last time."""
        if recorded:
            self._everything = False
            self._recorded = True
        elif self._everything:
            self._walks.append(self._all(root))

    def missed(self, node: int, digest: Digest, size: int, offset: int, length: int, *, expected: bool = False) -> None:
        """Somebody waits for a range of the file that is `node` in the tree; `expected`: all of it was on its way before."""
        if not self._neighbours or self._walks:
            return  # everything is on its way already, or nothing is to be
        if expected and self._recorded:
            return  # what was recorded is coming, and says better than any guess what is needed next
        end = offset + length
        if size <= WHOLE_BYTES_MAX:
            if length < size and digest not in self._ahead:
                self._ahead[digest] = size
                self._far.prefetch_range(digest, size, 0, size, SIBLINGS)
        elif end < size and end > self._ahead.get(digest, 0):
            self._ahead[digest] = end + _AHEAD_BYTES // 2
            self._far.prefetch_range(digest, size, end, min(_AHEAD_BYTES, size - end), SIBLINGS)
        if self._tree is not None:
            self._siblings(self._tree, node)

    def step(self) -> bool:
        """Ask for some more of what is wanted behind everything else; whether there was any."""
        if not self._walks:
            return False
        batch = list(islice(self._walks[0], _FILES_AT_ONCE))
        if batch:
            self._far.prefetch(batch, CLOSURE)
        else:
            del self._walks[0]
        return True

    @property
    def pending(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._walks)

    def _siblings(self, tree: Tree, node: int) -> None:
        parent = tree.table.record(node)[1]
        if parent in self._seen:
            return
        self._seen.add(parent)
        room = SIBLINGS_BYTES_MAX
        blobs = []
        for number in tree.names.get(parent, {}).values():
            kind, _, _, size, digest = tree.table.record(number)
            if kind in (FILE, EXECUTABLE) and 0 < size <= min(SIBLING_BYTES_MAX, room) and number != node:
                room -= size
                blobs.append((Digest(digest), size))
        if blobs:
            self._far.prefetch(blobs, SIBLINGS)

    def _all(self, root: Digest) -> Iterator[tuple[Digest, int]]:
        """Every file below a directory once, if together with what was opened before they aren't too large."""
        files: dict[Digest, int] = {}
        total = 0
        for file in _files(root, self._directory):
            if file.digest not in files:
                files[file.digest] = file.size
                total += file.size
                if total > self._room:
                    return
        self._room -= total
        yield from ((digest, size) for digest, size in files.items() if size)


def _files(root: Digest, directory: Callable[[Digest], Directory | None]) -> Iterable[FileNode]:
    seen = {root}
    stack = [root]
    while stack:
        here = directory(stack.pop())
        for node in here.entries.values() if here is not None else ():
            if type(node) is FileNode:
                yield node
            elif type(node) is DirectoryNode and node.digest not in seen:
                seen.add(node.digest)
                stack.append(node.digest)
