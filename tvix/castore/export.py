"""From castore to a directory tree on disk.

The tree grows under a temporary name beside its destination and is renamed when it is complete, so it is there whole or not at
all. Names are created relative to the open directory that they belong in, must not exist, and no symlink is followed: no tree,
however contrived, writes outside of itself. Files come out as Nix has them in a store: modes 0444 and 0555, times one second after
1970 began.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from secrets import token_hex

from tvix.castore.blobs.contents import BlobNotFound, check_size, open_file
from tvix.castore.blobs.interface import BlobService, Buffer
from tvix.castore.chunking import single_bytes_max
from tvix.castore.digests import Digest, print_digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name, Node, SymlinkNode
from tvix.castore.pack.format import disk_error
from tvix.castore.tree import DEPTH_MAX, DirectoryNotFound, TreeTooDeep, printable
from tvix.errors import EX_NOINPUT, EX_NOPERM, TvixError
from tvix.events import Operation, silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.events import Emit

_PIECE_BYTES = 1 << 20
_TIMES = (1_000_000_000, 1_000_000_000)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class DestinationExists(TvixError):
    """A tree is to be written where something is already."""

    identifier = "castore.destination-exists"
    message = "{path} exists already"
    hint = "give the name of something new"
    exit_code = EX_NOPERM


class DestinationUnusable(TvixError):
    """The place that a tree is to be written to is not there."""

    identifier = "castore.destination-unusable"
    message = "nothing can be written to {path}: {reason}"
    exit_code = EX_NOINPUT


def export_tree(
    blobs: BlobService,
    directories: DirectoryService,
    node: Node,
    destination: str | bytes | os.PathLike[str],
    emit: Emit = silent,
) -> None:
    """Write what `node` stands for as `destination`, which must not exist in a directory that must.

    Raises `DestinationExists`, `DestinationUnusable`, `DiskFull`, `StoreFailed`, `BlobNotFound`, `WrongBlobSize`,
    `DirectoryNotFound`, `TreeTooDeep`, and what the services raise.
    """
    path = os.path.abspath(os.fsencode(destination))
    parent_path, name = os.path.split(path)
    try:
        parent = os.open(parent_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DestinationUnusable(path=printable(path), reason=error.strerror or str(error)) from None
    partial = b".tvix-" + token_hex(8).encode()
    with Operation(emit, "export", unit="files", path=printable(path)) as operation:
        try:
            if os.path.lexists(path):
                raise DestinationExists(path=printable(path))
            _Export(blobs, directories, node, operation).write(parent, partial, node)
            _move(node, parent, partial, name)
        except FileExistsError:
            raise DestinationExists(path=printable(path)) from None
        except OSError as error:
            raise disk_error(printable(path), error) from None
        finally:
            _remove(parent, partial)
            os.close(parent)


def _move(node: Node, parent: int, partial: bytes, name: bytes) -> None:
    """Give the finished tree its name, without taking anybody else's away."""
    if type(node) is DirectoryNode:
        os.rename(partial, name, src_dir_fd=parent, dst_dir_fd=parent)
    else:
        os.link(partial, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)


class _Export:
    """One tree. Directories are fetched in one call before anything is written."""

    def __init__(self, blobs: BlobService, directories: DirectoryService, root: Node, operation: Operation) -> None:
        self._blobs = blobs
        self._operation = operation
        self._directories: dict[Digest, Directory] = {}
        if type(root) is DirectoryNode:
            self._directories = {directory.digest: directory for directory in directories.closure(root.digest)}

    def write(self, parent: int, name: bytes, node: Node, depth: int = 0) -> None:
        """Write a node as `name` in the open directory `parent`."""
        if type(node) is DirectoryNode:
            self._directory(parent, name, node, depth)
        elif type(node) is SymlinkNode:
            os.symlink(node.target, name, dir_fd=parent)
            os.utime(name, ns=_TIMES, dir_fd=parent, follow_symlinks=False)
        elif type(node) is FileNode:
            reader = open_file(self._blobs, node)
            try:
                pieces = (reader.read_at(offset, _PIECE_BYTES) for offset in range(0, node.size, _PIECE_BYTES))
                self._file(parent, name, node.executable, pieces)
            finally:
                reader.close()

    def _directory(self, parent: int, name: bytes, node: DirectoryNode, depth: int) -> None:
        if depth >= DEPTH_MAX:
            raise TreeTooDeep(path=print_digest(node.digest), limit=DEPTH_MAX)
        directory = self._directories.get(node.digest)
        if directory is None:
            raise DirectoryNotFound(digest=print_digest(node.digest))
        os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        try:
            small: list[tuple[Name, FileNode]] = []
            for entry_name, entry in directory.entries.items():
                if type(entry) is FileNode and entry.size <= single_bytes_max():
                    small.append((entry_name, entry))
                else:
                    self.write(fd, entry_name, entry, depth + 1)
            self._small_files(fd, small)
            os.fchmod(fd, 0o555)
            os.utime(fd, ns=_TIMES)
        finally:
            os.close(fd)

    def _small_files(self, parent: int, files: list[tuple[Name, FileNode]]) -> None:
        contents = self._blobs.read_many([node.digest for _name, node in files])
        for (name, node), (digest, blob) in zip(files, contents, strict=True):
            if blob is None:
                raise BlobNotFound(digest=print_digest(digest))
            check_size(digest, node.size, len(blob))
            self._file(parent, name, node.executable, iter((blob,)))

    def _file(self, parent: int, name: bytes, executable: bool, pieces: Iterator[Buffer]) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(fd, rest) :]
            os.fchmod(fd, 0o555 if executable else 0o444)
            os.utime(fd, ns=_TIMES)
        finally:
            os.close(fd)
        self._operation.progress()


def _remove(parent: int, name: bytes) -> None:
    """Take away what was not finished, or the second name of what was."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except OSError:
        pass  # a directory: the error for that differs between file systems
    fd = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    try:
        os.fchmod(fd, stat.S_IRWXU)
        with os.scandir(fd) as scan:
            names = [os.fsencode(entry.name) for entry in scan]
        for below in names:
            _remove(fd, below)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)
