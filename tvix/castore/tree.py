"""Finding one's way in a castore tree, one component at a time. There is no `..` here and symlinks are never followed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from tvix.castore.digests import print_digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, Name, Node, check_name
from tvix.errors import EX_DATAERR, EX_NOINPUT, TvixError

DEPTH_MAX = 256
"""Directories in directories, where code that walks a tree on disk stops: each level holds a descriptor, and a process commonly has
1024."""


class DirectoryNotFound(TvixError):
    """A directory that a node names is not in the store."""

    identifier = "castore.directory-not-found"
    message = "directory {digest} is not in the store"
    hint = "its tree was stored only in part, or in another store"
    exit_code = EX_NOINPUT


class TreeTooDeep(TvixError):
    """Directories in directories beyond what is worth supporting."""

    identifier = "castore.tree-too-deep"
    message = "{path} lies over {limit} directories deep"
    exit_code = EX_DATAERR


def printable(path: bytes) -> str:
    """A path as text for people, whatever its bytes."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()


def split_path(path: bytes) -> list[Name]:
    """The components of a relative path; empty for an empty path. Raises `InvalidName` for `.`, `..` and doubled slashes."""
    return [check_name(component) for component in path.strip(b"/").split(b"/")] if path.strip(b"/") else []


def directory_of(directories: DirectoryService, node: DirectoryNode) -> Directory:
    """The directory that a node names. Raises `DirectoryNotFound`."""
    found = directories.get_many([node.digest]).get(node.digest)
    if found is None:
        raise DirectoryNotFound(digest=print_digest(node.digest))
    return found


def descend(directories: DirectoryService, node: Node, components: Iterable[Name]) -> Node | None:
    """The node at a path below `node`, None where there is none or where the path leads through something not a directory.

    Raises `DirectoryNotFound`.
    """
    for component in components:
        if type(node) is not DirectoryNode:
            return None
        below = directory_of(directories, node).entries.get(component)
        if below is None:
            return None
        node = below
    return node


def walk(directories: DirectoryService, node: Node, path: tuple[Name, ...] = ()) -> Iterator[tuple[tuple[Name, ...], Node]]:
    """`node` and everything below it with its path, depth first in name order. The directories are fetched in one call.

    Raises `IncompleteClosure` and `DirectoryNotFound`.
    """
    known = {}
    if type(node) is DirectoryNode:
        known = {directory.digest: directory for directory in directories.closure(node.digest)}
    stack: list[tuple[tuple[Name, ...], Node]] = [(path, node)]
    while stack:
        here, node = stack.pop()
        yield here, node
        if type(node) is DirectoryNode:
            directory = known.get(node.digest)
            if directory is None:
                raise DirectoryNotFound(digest=print_digest(node.digest))
            stack.extend(((*here, name), child) for name, child in reversed(list(directory.entries.items())))
