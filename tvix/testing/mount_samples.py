"""A small store with everything a mount can be asked for, and some that it can't give."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from tvix.castore.digests import Digest
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name, Node, SymlinkNode
from tvix.nix_compat.store_path import StorePath, source_path
from tvix.store.path_info import PathInfo

if TYPE_CHECKING:
    from tvix.store.store import Store

HELLO = b"Hello World!"
LARGE = bytes(range(255)) * 4096
SCRIPT = b"#!/bin/sh\necho from the store: $*\n"
TARGET = b"/nix/store/somewhereelse"
ABSENT = Digest(sha256(b"never stored").digest())


class Sample(NamedTuple):
    """The store paths of a sample, by what they are."""

    file: StorePath
    large: StorePath
    link: StorePath
    link_to_file: StorePath
    keep: StorePath
    complicated: StorePath
    deep: StorePath
    missing_directory: StorePath
    missing_blob: StorePath
    wrong_size: StorePath


def fill(store: Store) -> Sample:
    """Put the sample into a store, durably."""
    blobs = {contents: store.blobs.put(contents) for contents in (HELLO, LARGE, SCRIPT, b"")}
    hello = FileNode(blobs[HELLO], len(HELLO), False)
    empty = FileNode(blobs[b""], 0, False)
    nothing = Directory.of([])
    keep = _directory({b".keep": empty})
    complicated = _directory({b"keep": keep.node, b".keep": empty, b"aa": SymlinkNode(TARGET)})
    tools = _directory(
        {b"run": FileNode(blobs[SCRIPT], len(SCRIPT), True), b"run.txt": FileNode(blobs[SCRIPT], len(SCRIPT), False)}
    )
    deep = _directory({b"a": tools.node, b"b": tools.node, b"c": nothing.node, b"hello": hello, b"to-hello": SymlinkNode(b"hello")})
    store.directories.put([nothing, keep, complicated, tools, deep])
    file = _path("file")
    nodes: dict[str, Node] = {
        "file": hello,
        "large": FileNode(blobs[LARGE], len(LARGE), False),
        "link": SymlinkNode(TARGET),
        "link_to_file": SymlinkNode(file.basename.encode()),
        "keep": keep.node,
        "complicated": complicated.node,
        "deep": deep.node,
        "missing_directory": DirectoryNode(ABSENT, 2),
        "missing_blob": FileNode(ABSENT, 12, False),
        "wrong_size": FileNode(blobs[HELLO], len(HELLO) + 1, True),
    }
    references = {"deep": (file,)}
    store.path_infos.put_many(PathInfo(_path(name), node, 100, bytes(32), references.get(name, ())) for name, node in nodes.items())
    store.sync()
    return sample()


def sample() -> Sample:
    """The paths, without a store."""
    return Sample(*(_path(name) for name in Sample._fields))


def _path(name: str) -> StorePath:
    return source_path(name, sha256(name.encode()).digest())


def _directory(entries: dict[bytes, Node]) -> Directory:
    return Directory.of([(Name(name), node) for name, node in entries.items()])
