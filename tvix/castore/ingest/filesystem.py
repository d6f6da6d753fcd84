"""From a directory tree on disk into castore.

Every name is opened relative to the directory that it was found in, and no symlink is followed: a tree that is changed meanwhile,
by whomever, can't lead the walk out of itself. What changes while it is read is an error.

The loop is written for speed, under 20 µs a small file of which the kernel takes most: one read a file, entries encoded as they are
met, blobs handed over in batches, directories in one stream.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from blake3 import blake3

from tvix.castore.blobs.interface import BlobService
from tvix.castore.digests import Digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directory import Directory, encode_directory_entry, encode_file_entry, encode_symlink_entry
from tvix.castore.ingest.batch import BlobBatch
from tvix.castore.ingest.errors import ChangedWhileReading, SpecialFile, Unreadable, kind_of, read_error
from tvix.castore.ingest.fingerprint import Fingerprint
from tvix.castore.nodes import DirectoryNode, FileNode, Node, SymlinkNode, check_name, check_target
from tvix.castore.tree import DEPTH_MAX, TreeTooDeep, printable
from tvix.events import Operation, silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.events import Emit

_PIECE_BYTES = 1 << 20
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def ingest_tree(
    path: str | bytes | os.PathLike[str],
    blobs: BlobService,
    directories: DirectoryService,
    emit: Emit = silent,
    *,
    fingerprint: Fingerprint | None = None,
) -> Node:
    """Store the directory, file or symlink at `path` and say its node. Nothing is durable before the services' `sync`.

    `fingerprint` is told what was seen, for comparison with another walk. Raises `Unreadable`, `SpecialFile`,
    `ChangedWhileReading`, `TreeTooDeep`, `InvalidTarget`, and what the services raise.
    """
    raw = os.fsencode(path)
    with Operation(emit, "ingest", unit="files", path=printable(raw)) as operation:
        ingest = _Ingest(raw, blobs, operation, fingerprint or Fingerprint())
        node = ingest.root(directories)
        operation.fields["bytes"] = ingest.bytes
    return node


class _Ingest:
    """One walk."""

    def __init__(self, root: bytes, blobs: BlobService, operation: Operation, fingerprint: Fingerprint) -> None:
        self._root = root
        self._blobs = blobs
        self._batch = BlobBatch(blobs)
        self._small_max = self._batch.single_bytes_max
        self._operation = operation
        self._fingerprint = fingerprint
        self._path: list[bytes] = []
        self.bytes = 0

    def root(self, directories: DirectoryService) -> Node:
        """The whole tree."""
        root = self._root
        try:
            status = os.lstat(root)
        except OSError as error:
            raise self._unreadable(b"", error) from None
        if stat.S_ISDIR(status.st_mode):
            try:
                fd = os.open(root, _OPEN_DIRECTORY)
            except OSError as error:
                raise self._unreadable(b"", error) from None
            found: list[DirectoryNode] = []
            directories.put(self._directory(fd, b"", found))
            node: Node = found[0]
        elif stat.S_ISLNK(status.st_mode):
            self._fingerprint.add(b"", status)
            node = SymlinkNode(check_target(os.readlink(root)))
        else:
            digest, status = self._file(root, None, b"", status.st_mode)
            node = FileNode(digest, status.st_size, bool(status.st_mode & 0o100))
            self._operation.progress()
        self._batch.flush()
        return node

    def _directory(self, fd: int, name: bytes, found: list[DirectoryNode]) -> Iterator[Directory]:
        """Store what lies in the open directory `fd`, which is closed here; its directories, children first, then itself."""
        try:
            before = os.fstat(fd)
            self._fingerprint.add(name, before)
            if len(self._path) >= DEPTH_MAX:
                raise TreeTooDeep(path=self._where(b""), limit=DEPTH_MAX)
            with os.scandir(fd) as scan:
                entries = sorted([(os.fsencode(entry.name), entry) for entry in scan])
            files: list[bytes] = []
            symlinks: list[bytes] = []
            children: list[DirectoryNode] = []
            below: list[bytes] = []
            for name, entry in entries:
                if entry.is_file(follow_symlinks=False):
                    digest, status = self._file(entry.name, fd, name)
                    files.append(encode_file_entry(name, digest, status.st_size, bool(status.st_mode & 0o100)))
                elif entry.is_dir(follow_symlinks=False):
                    self._path.append(name)
                    yield from self._directory(self._open_directory(entry.name, fd), name, children)
                    self._path.pop()
                    below.append(encode_directory_entry(name, *children[-1]))
                elif entry.is_symlink():
                    symlinks.append(self._symlink(entry.name, fd, name))
                else:
                    status = entry.stat(follow_symlinks=False)
                    raise SpecialFile(path=self._where(name), kind=kind_of(status.st_mode))
            if changed(before, os.fstat(fd)):
                raise ChangedWhileReading(path=self._where(b""), reason="something was added, removed or renamed in it")
        except OSError as error:
            raise self._unreadable(b"", error) from None
        finally:
            os.close(fd)
        self._operation.progress(len(files))
        encoded = b"".join((*below, *files, *symlinks))
        directory = Directory.built(encoded, Digest(blake3(encoded).digest()), len(entries), children)
        found.append(directory.node)
        yield directory

    def _open_directory(self, name: str, parent: int) -> int:
        try:
            return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        except OSError as error:
            raise self._unreadable(b"", error) from None

    def _symlink(self, name: str, parent: int, raw: bytes) -> bytes:
        try:
            target = os.fsencode(os.readlink(name, dir_fd=parent))
            self._fingerprint.add(raw, os.stat(name, dir_fd=parent, follow_symlinks=False))
        except OSError as error:
            raise self._unreadable(raw, error) from None
        return encode_symlink_entry(check_name(raw), check_target(target))

    def _file(self, name: str | bytes, parent: int | None, raw: bytes, mode: int = stat.S_IFREG) -> tuple[Digest, os.stat_result]:
        """Store a regular file: its digest, and its status before it was read."""
        if not stat.S_ISREG(mode):
            raise SpecialFile(path=self._where(raw), kind=kind_of(mode))
        try:
            fd = os.open(name, _OPEN_FILE, dir_fd=parent)
        except OSError as error:
            raise self._unreadable(raw, error) from None
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise ChangedWhileReading(path=self._where(raw), reason=f"it became a {kind_of(before.st_mode)}")
            self._fingerprint.add(raw, before)
            size = before.st_size
            if size <= self._small_max:
                contents = os.read(fd, size + 1)
                digest = Digest(blake3(contents).digest())
                read = len(contents)
            else:
                digest, read = self._large_file(fd, size)
            after = os.fstat(fd)
            if read != size or changed(before, after):
                raise ChangedWhileReading(path=self._where(raw), reason=f"it had {size} bytes, of which {read} were read")
        except OSError as error:
            raise self._unreadable(raw, error) from None
        finally:
            os.close(fd)
        self.bytes += size
        if size <= self._small_max:
            self._batch.add(digest, contents)
        return digest, before

    def _large_file(self, fd: int, size: int) -> tuple[Digest, int]:
        writer = self._blobs.writer()
        try:
            read = 0
            while read <= size and (piece := os.read(fd, _PIECE_BYTES)):  # what grows as fast as it is read has no end
                writer.write(piece)
                read += len(piece)
            return writer.close(), read
        finally:
            writer.abort()

    def _unreadable(self, name: bytes, error: OSError) -> Unreadable | ChangedWhileReading:
        return read_error(self._where(name), error, was_seen=bool(name or self._path))

    def _where(self, name: bytes) -> str:
        return printable(b"/".join((self._root, *self._path, *((name,) if name else ()))))


def changed(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file or directory was written to between two looks at it."""
    return (before.st_mtime_ns, before.st_ctime_ns, before.st_size) != (after.st_mtime_ns, after.st_ctime_ns, after.st_size)
