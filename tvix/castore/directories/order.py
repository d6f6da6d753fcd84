"""What makes a stream of directories a tree: children before parents when it is stored, parents before children when it is told.

Sizes are checked against both counts (see `tvix.castore.directory`), since directories written by others may use either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from tvix.castore.digests import Digest, print_digest
from tvix.castore.directories.interface import CorruptDirectory, IncompleteClosure, WrongDirectorySize
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode

Sizes = tuple[int, int]
"""What a parent may say of a directory: its size by either count."""


def sizes_of(directory: Directory) -> Sizes:
    """Both counts of `directory`."""
    size = directory.size
    return size, size - len(directory)


def children_first(
    directories: Iterable[Directory], stored: Callable[[Collection[Digest]], Mapping[Digest, Sizes]], origin: str
) -> Iterator[Directory]:
    """Pass on directories whose children came before or are among what `stored` finds, each once.

    Raises `IncompleteClosure` and `WrongDirectorySize`; what was passed on before that is a set closed downwards.
    """
    known: dict[Digest, Sizes] = {}
    for directory in directories:
        digest = directory.digest
        if digest in known:
            continue
        children = directory.children()
        unknown = {child.digest for child in children if child.digest not in known}
        if unknown:
            known.update(stored(unknown))
        for child in children:
            _check_child(digest, child, known, origin)
        known[digest] = sizes_of(directory)
        yield directory


def _check_child(parent: Digest, child: DirectoryNode, known: Mapping[Digest, Sizes], origin: str) -> None:
    sizes = known.get(child.digest)
    if sizes is None:
        raise IncompleteClosure(digest=print_digest(parent), missing=print_digest(child.digest), origin=origin)
    if child.size not in sizes:
        raise WrongDirectorySize(digest=print_digest(parent), child=print_digest(child.digest), said=child.size, actual=sizes[0])


class ParentsFirst:
    """The closure of `root` as another store tells it, directory by directory: whether it is one, and complete."""

    def __init__(self, root: Digest, origin: str) -> None:
        self._origin = origin
        self._said: dict[Digest, set[int]] = {root: set()}
        self._parents: dict[Digest, Digest] = {}
        self._told: dict[Digest, Sizes] = {}

    def take(self, directory: Directory) -> bool:
        """The next directory; whether it is a new one. Raises `CorruptDirectory` where nothing named it, `WrongDirectorySize`."""
        digest = directory.digest
        if digest in self._told:
            return False
        if digest not in self._said:
            raise CorruptDirectory(digest=print_digest(digest), origin=self._origin, reason="was sent but nothing refers to it")
        sizes = self._told[digest] = sizes_of(directory)
        for size in self._said.pop(digest):
            _check_said(self._parents[digest], digest, size, sizes)
        for child in directory.children():
            if child.digest in self._told:
                _check_said(digest, child.digest, child.size, self._told[child.digest])
            else:
                self._said.setdefault(child.digest, set()).add(child.size)
                self._parents.setdefault(child.digest, digest)
        return True

    def expects(self, digest: Digest) -> bool:
        """Whether a directory was named and is still to come."""
        return digest in self._said

    def finish(self) -> None:
        """Raises `IncompleteClosure` where something named didn't come; an empty stream is complete."""
        if self._told and self._said:
            missing = next(iter(self._said))
            parent = print_digest(self._parents[missing])
            raise IncompleteClosure(digest=parent, missing=print_digest(missing), origin=self._origin)


def parents_first(root: Digest, directories: Iterable[Directory], origin: str) -> Iterator[Directory]:
    """Pass on the closure of `root` as another store tells it, each directory once; nothing for an empty stream.

    A directory that nothing before it named is refused with `CorruptDirectory`, a wrong size with `WrongDirectorySize`, and
    a stream that ends while something named is still to come with `IncompleteClosure`.
    """
    order = ParentsFirst(root, origin)
    for directory in directories:
        if order.take(directory):
            yield directory
    order.finish()


def _check_said(parent: Digest, child: Digest, size: int, sizes: Sizes) -> None:
    if size not in sizes:
        raise WrongDirectorySize(digest=print_digest(parent), child=print_digest(child), said=size, actual=sizes[0])


def breadth_first(
    root: Digest, get_many: Callable[[Collection[Digest]], Mapping[Digest, Directory]], origin: str
) -> Iterator[Directory]:
    """The closure of `root`, parents first, each once, a level a call of `get_many`; nothing where the root is not there."""
    told = {root}
    level: list[tuple[Digest, Digest]] = [(root, root)]
    while level:
        found = get_many([digest for digest, _parent in level])
        below: list[tuple[Digest, Digest]] = []
        for digest, parent in level:
            directory = found.get(digest)
            if directory is None:
                if digest == root:
                    return
                raise IncompleteClosure(digest=print_digest(parent), missing=print_digest(digest), origin=origin)
            yield directory
            for child in directory.children():
                if child.digest not in told:
                    told.add(child.digest)
                    below.append((child.digest, digest))
        level = below


def leaves_first(root: Digest, directories: Mapping[Digest, Directory]) -> Iterator[Directory]:
    """The closure of `root`, which must be all in `directories`, children before parents, each once."""
    entered = {root}
    stack: list[tuple[Directory, Iterator[DirectoryNode]]] = [(directories[root], iter(directories[root].children()))]
    while stack:
        directory, children = stack[-1]
        for child in children:
            if child.digest not in entered:
                entered.add(child.digest)
                below = directories[child.digest]
                stack.append((below, iter(below.children())))
                break
        else:
            stack.pop()
            yield directory
