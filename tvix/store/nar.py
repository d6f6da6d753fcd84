"""NARs rendered from castore: nothing is stored as NAR, so every NAR is made anew, in one pass and bounded memory.

Directories are fetched by the children of one directory, small files by the window: over a network the trips count, not the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from tvix.castore.blobs.contents import BlobNotFound, check_size, open_file
from tvix.castore.blobs.interface import BlobService, Buffer
from tvix.castore.digests import Digest, print_digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name, Node, SymlinkNode
from tvix.nix_compat.nar import tokens
from tvix.store.completeness import IncompleteRoot
from tvix.store.path_infos.interface import NarSummary

PIECE_BYTES = 1 << 20
_WINDOW_BYTES = 2 << 20
# What a node's strings take, roughly: many empty files fill a window too.
_TOKEN_BYTES = 256
_SMALL_BYTES = 256 << 10
_DIRECTORIES_AHEAD = 512


def nar_summary(node: Node, blobs: BlobService, directories: DirectoryService) -> NarSummary:
    """Size and SHA-256 of the NAR of `node`. Raises `IncompleteRoot`, `WrongBlobSize`."""
    from hashlib import sha256  # loads libcrypto, which those who only mount can do without

    size = 0
    hasher = sha256(usedforsecurity=False)
    for piece in render_nar(node, blobs, directories):
        hasher.update(piece)
        size += len(piece)
    return NarSummary(size, hasher.digest())


def render_nar(node: Node, blobs: BlobService, directories: DirectoryService) -> Iterator[Buffer]:
    """The NAR of `node` in pieces of at most some MiB. Raises `IncompleteRoot`, `WrongBlobSize`, `StoreUnavailable`."""
    return _Renderer(blobs, directories).render(node)


def render_contents(node: FileNode, blobs: BlobService) -> Iterator[Buffer]:
    """The contents of one file in pieces of `PIECE_BYTES`. Raises as `render_nar` does."""
    try:
        reader = open_file(blobs, node)
    except BlobNotFound as error:
        raise IncompleteRoot(kind="blob", digest=error.fields["digest"]) from None
    try:
        for offset in range(0, node.size, PIECE_BYTES):
            yield reader.read_at(offset, PIECE_BYTES)
    finally:
        reader.close()


class _Level:
    """One directory on the way down: the entries still to come, and its child directories, some of them fetched."""

    __slots__ = ("children", "entries", "fetched")

    def __init__(self, directory: Directory) -> None:
        self.entries: Iterator[tuple[Name, Node]] = iter(directory.entries.items())
        self.children = [child.digest for child in directory.children()]
        self.fetched: dict[Digest, Directory] = {}


class _Renderer:
    """Tokens and the places of small files pile up in `_out` until the window is full, then the files are read in one call."""

    def __init__(self, blobs: BlobService, directories: DirectoryService) -> None:
        self._blobs = blobs
        self._directories = directories
        self._out: list[Buffer] = []
        self._files: list[tuple[int, FileNode]] = []
        self._window = 0

    def render(self, node: Node) -> Iterator[Buffer]:
        self._out.append(tokens.MAGIC)
        if type(node) is FileNode:
            token = tokens.EXECUTABLE if node.executable else tokens.REGULAR
            yield from self._file(token, node, tokens.PADDED_CLOSE)
        elif type(node) is DirectoryNode:
            root = self._directories.get_many([node.digest]).get(node.digest)
            if root is None:
                raise IncompleteRoot(kind="directory", digest=print_digest(node.digest))
            self._out.append(tokens.DIRECTORY)
            yield from self._below(root)
        elif type(node) is SymlinkNode:
            self._out.append(tokens.SYMLINK + tokens.string(node.target) + tokens.CLOSE)
        yield self._flush()

    def _below(self, root: Directory) -> Iterator[Buffer]:
        """Everything in `root` and its end, depth first; one loop, since a generator per level would cost at every piece."""
        append = self._out.append
        levels = [_Level(root)]
        while levels:
            level = levels[-1]
            for name, node in level.entries:
                size = len(name)
                head = tokens.ENTRY_HEADS[size] + name
                if type(node) is FileNode:
                    nodes = tokens.NODE_EXECUTABLE if node.executable else tokens.NODE_REGULAR
                    yield from self._file(head + nodes[size & 7], node, tokens.PADDED_CLOSE_ENTRY)
                elif type(node) is DirectoryNode:
                    append(head + tokens.NODE_DIRECTORY[size & 7])
                    levels.append(_Level(self._child(level, node.digest)))
                    break
                else:
                    append(head + tokens.NODE_SYMLINK[size & 7] + tokens.string(node[0]) + tokens.CLOSE_ENTRY)
                    self._window += _TOKEN_BYTES
            else:
                levels.pop()
                append(tokens.CLOSE_ENTRY if levels else tokens.CLOSE)

    def _file(self, head: bytes, node: FileNode, closes: list[bytes]) -> Iterator[Buffer]:
        out = self._out
        out.append(head + tokens.length(node.size))
        if node.size > _SMALL_BYTES:
            yield self._flush()
            yield from render_contents(node, self._blobs)
        else:
            self._files.append((len(out), node))
            out.append(b"")
            self._window += node.size + _TOKEN_BYTES
        out.append(closes[node.size & 7])
        if self._window > _WINDOW_BYTES:
            yield self._flush()

    def _flush(self) -> bytes:
        """The window as one piece, with the contents of its files put in their places."""
        out, files = self._out, self._files
        if files:
            contents_of = self._blobs.read_many([node.digest for _, node in files])
            for (place, node), (_, contents) in zip(files, contents_of, strict=True):
                if contents is None:
                    raise IncompleteRoot(kind="blob", digest=print_digest(node.digest))
                check_size(node.digest, node.size, len(contents))
                out[place] = contents
            files.clear()
        piece = b"".join(out)
        out.clear()
        self._window = 0
        return piece

    def _child(self, level: _Level, digest: Digest) -> Directory:
        """A child directory; where it isn't fetched yet, it comes together with those that follow it."""
        directory = level.fetched.get(digest)
        if directory is None:
            ahead = level.children[level.children.index(digest) :][:_DIRECTORIES_AHEAD]
            level.fetched = self._directories.get_many(ahead)
            directory = level.fetched.get(digest)
        if directory is None:
            raise IncompleteRoot(kind="directory", digest=print_digest(digest))
        return directory
