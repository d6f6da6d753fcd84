"""The NAR hash of a tree on disk, without a store and without making the NAR.

One walk relative to directory handles, no symlink followed; what changes while it is read is an error. The strings between files
are encoded beforehand, and joined with the contents to pieces of 256 KiB before SHA-256 sees them, since each of its calls costs
more than hashing a small file does.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from hashlib import sha256

from tvix.castore.ingest.errors import ChangedWhileReading, SpecialFile, Unreadable, kind_of, read_error
from tvix.castore.ingest.filesystem import changed
from tvix.castore.ingest.fingerprint import Fingerprint
from tvix.castore.nodes import check_target
from tvix.castore.tree import DEPTH_MAX, TreeTooDeep, printable
from tvix.nix_compat.nar import tokens
from tvix.store.path_infos.interface import NarSummary

_JOIN_BYTES = 256 << 10
_PIECE_BYTES = 1 << 20
# What the strings of a node take, roughly.
_TOKEN_BYTES = 256
_CLOSES = tokens.PADDED_CLOSE_ENTRY
_ENCODING = sys.getfilesystemencoding()
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def hash_path(path: str | bytes | os.PathLike[str], fingerprint: Fingerprint | None = None) -> NarSummary:
    """Size and SHA-256 of the NAR of the directory, file or symlink at `path`.

    `fingerprint` is told what was seen, for comparison with another walk. Raises `Unreadable`, `SpecialFile`,
    `ChangedWhileReading`, `TreeTooDeep`, `InvalidTarget`.
    """
    hasher = sha256(usedforsecurity=False)
    size = write_nar(path, hasher.update, fingerprint)
    return NarSummary(size, hasher.digest())


def write_nar(path: str | bytes | os.PathLike[str], sink: Callable[[bytes], object], fingerprint: Fingerprint | None = None) -> int:
    """Give the NAR of what is at `path` to `sink`, in pieces of about 1 MiB at most; its size. Raises as `hash_path` does."""
    walk = _Walk(os.fsencode(path), sink, fingerprint)
    walk.root()
    return walk.size


def _nothing(_name: bytes, _status: os.stat_result) -> None:
    """For a walk that nobody compares."""


class _Walk:
    def __init__(self, root: bytes, sink: Callable[[bytes], object], fingerprint: Fingerprint | None) -> None:
        self._root = root
        self._sink = sink
        self._saw = _nothing if fingerprint is None else fingerprint.add
        self._path: list[bytes] = []
        self._out: list[bytes] = [tokens.MAGIC]
        self._waiting = 0
        self.size = 0

    def root(self) -> None:
        try:
            status = os.lstat(self._root)
        except OSError as error:
            raise self._unreadable(b"", error) from None
        if stat.S_ISDIR(status.st_mode):
            self._out.append(tokens.DIRECTORY)
            self._directory(b"", self._root, None)
            self._out.append(tokens.CLOSE)
        elif stat.S_ISLNK(status.st_mode):
            self._saw(b"", status)
            self._out.append(tokens.SYMLINK + tokens.string(check_target(os.readlink(self._root))) + tokens.CLOSE)
        elif stat.S_ISREG(status.st_mode):
            self._file(b"", self._root, None, b"", (tokens.REGULAR, tokens.EXECUTABLE), tokens.PADDED_CLOSE)
        else:
            raise SpecialFile(path=self._where(b""), kind=kind_of(status.st_mode))
        self._flush()

    def _directory(self, name: bytes, opened_as: bytes, parent: int | None) -> None:
        """Everything in a directory; not its own beginning and end."""
        try:
            fd = os.open(opened_as, _OPEN_DIRECTORY, dir_fd=parent)
        except OSError as error:
            raise self._unreadable(b"", error) from None
        try:
            before = os.fstat(fd)
            self._saw(name, before)
            if len(self._path) >= DEPTH_MAX:
                raise TreeTooDeep(path=self._where(b""), limit=DEPTH_MAX)
            with os.scandir(fd) as scan:
                entries = sorted([(entry.name.encode(_ENCODING, "surrogateescape"), entry) for entry in scan])
            out = self._out
            for name, entry in entries:
                size = len(name)
                head = tokens.ENTRY_HEADS[size] + name
                padding = size & 7
                if entry.is_file(follow_symlinks=False):
                    self._file(name, name, fd, head, (tokens.NODE_REGULAR[padding], tokens.NODE_EXECUTABLE[padding]), _CLOSES)
                elif entry.is_dir(follow_symlinks=False):
                    out.append(head + tokens.NODE_DIRECTORY[padding])
                    self._path.append(name)
                    self._directory(name, name, fd)
                    self._path.pop()
                    out.append(tokens.CLOSE_ENTRY)
                    self._took(0)
                elif entry.is_symlink():
                    self._symlink(name, fd, head + tokens.NODE_SYMLINK[padding])
                else:
                    raise SpecialFile(path=self._where(name), kind=kind_of(entry.stat(follow_symlinks=False).st_mode))
            if changed(before, os.fstat(fd)):
                raise ChangedWhileReading(path=self._where(b""), reason="something was added, removed or renamed in it")
        except OSError as error:
            raise self._unreadable(b"", error) from None
        finally:
            os.close(fd)

    def _symlink(self, name: bytes, parent: int, head: bytes) -> None:
        try:
            target = os.readlink(name, dir_fd=parent)
            self._saw(name, os.stat(name, dir_fd=parent, follow_symlinks=False))
        except OSError as error:
            raise self._unreadable(name, error) from None
        self._out.append(head + tokens.string(check_target(target)) + tokens.CLOSE_ENTRY)
        self._took(len(target))

    def _file(
        self, name: bytes, opened_as: bytes, parent: int | None, head: bytes, kinds: tuple[bytes, bytes], closes: list[bytes]
    ) -> None:
        """A regular file; `kinds` begin a plain and an executable one. Half of all time is spent here, beside the kernel's."""
        try:
            fd = os.open(opened_as, _OPEN_FILE, dir_fd=parent)
        except OSError as error:
            raise self._unreadable(name, error) from None
        try:
            before = os.fstat(fd)
            mode, length = before.st_mode, before.st_size
            if not stat.S_ISREG(mode):
                raise ChangedWhileReading(path=self._where(name), reason=f"it became a {kind_of(mode)}")
            self._saw(name, before)
            out = self._out
            out.append(head + kinds[mode >> 6 & 1] + tokens.length(length))
            if length < _PIECE_BYTES:
                contents = os.read(fd, length + 1)
                read = len(contents)
                out.append(contents)
            else:
                read = self._large(fd, length)
            out.append(closes[length & 7])
            after = os.fstat(fd)
            if read != length or changed(before, after):
                raise ChangedWhileReading(path=self._where(name), reason=f"it had {length} bytes, of which {read} were read")
        except OSError as error:
            raise self._unreadable(name, error) from None
        finally:
            os.close(fd)
        if length < _PIECE_BYTES:
            self._waiting += length + _TOKEN_BYTES
            if self._waiting > _JOIN_BYTES:
                self._flush()

    def _large(self, fd: int, length: int) -> int:
        self._flush()
        read = 0
        while read <= length and (piece := os.read(fd, _PIECE_BYTES)):  # what grows as fast as it is read has no end
            self._sink(piece)
            read += len(piece)
        self.size += read
        return read

    def _took(self, length: int) -> None:
        self._waiting += length + _TOKEN_BYTES
        if self._waiting > _JOIN_BYTES:
            self._flush()

    def _flush(self) -> None:
        piece = b"".join(self._out)
        self._out.clear()
        self._waiting = 0
        self.size += len(piece)
        self._sink(piece)

    def _unreadable(self, name: bytes, error: OSError) -> Unreadable | ChangedWhileReading:
        return read_error(self._where(name), error, was_seen=bool(name or self._path))

    def _where(self, name: bytes) -> str:
        return printable(b"/".join((self._root, *self._path, *((name,) if name else ()))))
