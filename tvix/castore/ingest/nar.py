"""From a NAR stream into castore, in one pass and in bounded memory but for the encoded directories.

Directories are stored when the whole stream turned out to be a NAR: of a broken one nothing can be found but blobs of single files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from blake3 import blake3

from tvix.castore.blobs.interface import BlobService
from tvix.castore.digests import Digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directory import Directory, encode_directory_entry, encode_file_entry, encode_symlink_entry
from tvix.castore.ingest.batch import BlobBatch
from tvix.castore.nodes import DirectoryNode, FileNode, Node, SymlinkNode
from tvix.events import Operation, silent
from tvix.nix_compat.nar.reader import read_nar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.events import Emit


def ingest_nar(read: Callable[[int], bytes], blobs: BlobService, directories: DirectoryService, emit: Emit = silent) -> Node:
    """Store the tree of the NAR that `read` gives (as a file's `read` does) and say its root node.

    Nothing is durable before the services' `sync`. Raises subclasses of `InvalidNar`, and what the services raise.
    """
    with Operation(emit, "ingest-nar", unit="files") as operation:
        visitor = _Visitor(blobs, operation)
        operation.fields["bytes"] = read_nar(read, visitor)
        visitor.batch.flush()
        if visitor.directories:
            directories.put(visitor.directories)
    node = visitor.root
    if node is None:
        raise AssertionError("a NAR without a root")
    return node


class _Open:
    """A directory whose end hasn't come yet: its entries' encodings so far, by kind."""

    __slots__ = ("children", "directories", "files", "name", "symlinks")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.directories: list[bytes] = []
        self.files: list[bytes] = []
        self.symlinks: list[bytes] = []
        self.children: list[DirectoryNode] = []


class _Visitor:
    """Told of every node by the NAR reader, which has checked names, targets and order."""

    def __init__(self, blobs: BlobService, operation: Operation) -> None:
        self._blobs = blobs
        self._operation = operation
        self._open: list[_Open] = []
        self.batch = BlobBatch(blobs)
        self.directories: list[Directory] = []
        self.root: Node | None = None

    def enter_directory(self, name: bytes) -> None:
        self._open.append(_Open(name))

    def leave_directory(self) -> None:
        done = self._open.pop()
        encoded = b"".join((*done.directories, *done.files, *done.symlinks))
        length = len(done.directories) + len(done.files) + len(done.symlinks)
        directory = Directory.built(encoded, Digest(blake3(encoded).digest()), length, done.children)
        self.directories.append(directory)
        node = directory.node
        if self._open:
            parent = self._open[-1]
            parent.directories.append(encode_directory_entry(done.name, *node))
            parent.children.append(node)
        else:
            self.root = node

    def file(self, name: bytes, executable: bool, contents: bytes) -> None:
        if len(contents) > self.batch.single_bytes_max:
            self.large_file(name, executable, len(contents), iter((contents,)))
            return
        digest = Digest(blake3(contents).digest())
        self.batch.add(digest, contents)
        self._add_file(name, FileNode(digest, len(contents), executable))

    def large_file(self, name: bytes, executable: bool, size: int, pieces: Iterator[bytes]) -> None:
        writer = self._blobs.writer()
        try:
            for piece in pieces:
                writer.write(piece)
            digest = writer.close()
        finally:
            writer.abort()
        self._add_file(name, FileNode(digest, size, executable))

    def symlink(self, name: bytes, target: bytes) -> None:
        if self._open:
            self._open[-1].symlinks.append(encode_symlink_entry(name, target))
        else:
            self.root = SymlinkNode(target)

    def _add_file(self, name: bytes, node: FileNode) -> None:
        self._operation.progress()
        if self._open:
            self._open[-1].files.append(encode_file_entry(name, *node))
        else:
            self.root = node
