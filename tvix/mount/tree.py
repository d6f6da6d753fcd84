"""The tree that a mount shows: node numbers, names, attributes.

Regular files with equal contents and executable bit share a node, and so one page cache. Directories and symlinks have a node for
each position: a directory with two parents would give programs a wrong `..`.

A directory is opened up, with `adopt`, once its contents are at hand; getting them is the caller's work, for it may take a round
trip. Nothing is ever forgotten: see `tvix.mount.node_table`.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from tvix.castore.nodes import DirectoryNode, FileNode
from tvix.mount.node_table import (
    DIRECTORY,
    EXECUTABLE,
    FILE,
    NO_DIGEST,
    NO_POSITION,
    ROOT,
    SYMLINK,
    NodeTable,
    pack,
)

if TYPE_CHECKING:
    from tvix.castore.digests import Digest
    from tvix.castore.directory import Directory
    from tvix.castore.nodes import Node


class Tree:
    """Numbers and names. Safe to share between threads: reading takes no lock, opening up a directory does.

    `root` is the digest of the directory shown at the root; None for a whole store, whose store paths come by `adopt_path`.
    """

    def __init__(self, root: Digest | None, table: NodeTable | None = None) -> None:
        self.table = table or NodeTable()
        self.names: dict[int, dict[bytes, int]] = {}
        """Names and numbers of what is in each directory that has been opened up."""
        self.bytes_known = 0
        """Bytes in all the files that have a number."""
        self._targets: dict[int, bytes] = {}
        self._files: dict[bytes, int] = {}
        self._lock = Lock()
        self.table.append(pack(DIRECTORY, ROOT, NO_POSITION, 0, root or NO_DIGEST))
        self.is_store = root is None
        if root is None:
            self.names[ROOT] = {}

    def target(self, number: int) -> bytes:
        """Where a symlink points. Raises `KeyError` where `number` is none."""
        return self._targets[number]

    def adopt(self, number: int, directory: Directory) -> dict[bytes, int]:
        """Give numbers to the contents of directory `number`, and say them by name. Harmless twice. Raises `TooManyNodes`."""
        with self._lock:
            names = self.names.get(number)
            if names is None:
                names = {}
                records: list[bytes] = []
                files = self._files
                after = self.table.count
                for position, (name, node) in enumerate(directory.entries.items()):
                    if type(node) is FileNode and not node.executable and node.digest not in files:
                        # The usual case of `_number`, which is called for all others.
                        files[node.digest] = names[name] = after
                        records.append(pack(FILE, number, position, node.size, node.digest))
                        self.bytes_known += node.size
                    else:
                        names[name] = self._number(node, number, position, records)
                    after = self.table.count + len(records)
                self.table.append(b"".join(records))
                self.names[number] = names
        return names

    def adopt_path(self, basename: bytes, node: Node) -> int:
        """Give a number to a store path under the root of a whole store. Raises `TooManyNodes`."""
        with self._lock:
            names = self.names[ROOT]
            number = names.get(basename)
            if number is None:
                records: list[bytes] = []
                number = self._number(node, ROOT, NO_POSITION, records)
                self.table.append(b"".join(records))
                names[basename] = number
        return number

    def _number(self, node: Node, parent: int, position: int, records: list[bytes]) -> int:
        """The number of a node, which is new (and its record appended to `records`) unless it is a file seen before."""
        number = self.table.count + len(records)
        if type(node) is FileNode:
            digest, size, executable = node
            key = digest + b"x" if executable else digest
            known = self._files.setdefault(key, number)
            if known != number:
                if self._size(known, records) == size:
                    return known
                # Two directories disagree on the size of one blob, so one of them lies. Reading tells which.
                known = self._files.setdefault(key + size.to_bytes(8, "little"), number)
                if known != number:
                    return known
            records.append(pack(EXECUTABLE if executable else FILE, parent, position, size, digest))
            self.bytes_known += size
        elif type(node) is DirectoryNode:
            records.append(pack(DIRECTORY, parent, position, node.size, node.digest))
        else:
            target = node.target  # type: ignore[union-attr]
            self._targets[number] = target
            records.append(pack(SYMLINK, parent, position, len(target), NO_DIGEST))
        return number

    def _size(self, number: int, records: list[bytes]) -> int:
        """The size of a node whose record may still be on its way into the table."""
        if number >= self.table.count:
            return int.from_bytes(records[number - self.table.count][12:20], "little")
        return self.table.record(number)[3]
