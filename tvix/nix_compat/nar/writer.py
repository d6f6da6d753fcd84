"""Writes a NAR as a stream: told the nodes in order, it writes their bytes, and refuses to write anything but a valid archive.

It is a `NarVisitor`, so what `read_nar` reads can be written again as it comes. A renderer that knows its tree to be in order goes
faster with `tokens` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from tvix.nix_compat.nar import tokens
from tvix.nix_compat.nar.errors import (
    DuplicateEntry,
    IncompleteTree,
    InvalidEntryName,
    InvalidLinkTarget,
    InvalidNar,
    TooDeep,
    UnsortedEntries,
    WrongFileSize,
    entry_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_BUFFER_BYTES = 1 << 18


class NarWriter:
    """Sends the NAR to `write`, in pieces of about 256 KiB; large pieces of files are passed on as they are.

    The root, be it a directory, a file or a symlink, has the name b"". `close` ends the archive. All methods raise subclasses of
    `InvalidNar`; after one, what was written is not an archive.
    """

    __slots__ = ("_buffer", "_buffered", "_complete", "_names", "_previous", "_write", "written")

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._buffer: list[bytes] = [tokens.MAGIC]
        self._buffered = len(tokens.MAGIC)
        self._names: list[bytes] = []  # of the open directories, the root's empty one first
        self._previous = b""
        self._complete = False
        self.written = 0
        """Bytes of the archive so far, those still buffered included once `close` has been called."""

    def enter_directory(self, name: bytes) -> None:
        """Begin a directory: what follows goes in it."""
        head = self._head(name)
        self._put(head + (tokens.NODE_DIRECTORY[len(name) & 7] if head else tokens.DIRECTORY))
        self._names.append(name)
        self._previous = b""

    def leave_directory(self) -> None:
        """End the directory entered last."""
        if not self._names:
            self._fail(IncompleteTree, b"", "no directory is open")
        self._previous = self._names.pop()
        self._complete = not self._names
        self._put(tokens.CLOSE_ENTRY if self._names else tokens.CLOSE)

    def file(self, name: bytes, executable: bool, contents: bytes) -> None:
        """A file whose contents are in memory."""
        head = self._head(name)
        size = len(contents)
        self._put(self._file_head(head, name, executable) + tokens.length(size))
        self._put(contents)
        self._put((tokens.PADDED_CLOSE_ENTRY if head else tokens.PADDED_CLOSE)[size & 7])
        self._previous = name
        self._complete = not self._names

    def large_file(self, name: bytes, executable: bool, size: int, pieces: Iterable[bytes]) -> None:
        """A file of `size` bytes whose contents come in pieces. Raises `WrongFileSize` where they are more or less."""
        head = self._head(name)
        self._put(self._file_head(head, name, executable) + tokens.length(size))
        remaining = size
        for piece in pieces:
            remaining -= len(piece)
            if remaining < 0:
                break
            self._put(piece)
        if remaining:
            self._fail(WrongFileSize, name, f"its contents are {'longer' if remaining < 0 else 'shorter'} than {size} bytes")
        self._put((tokens.PADDED_CLOSE_ENTRY if head else tokens.PADDED_CLOSE)[size & 7])
        self._previous = name
        self._complete = not self._names

    def symlink(self, name: bytes, target: bytes) -> None:
        """A symbolic link."""
        head = self._head(name)
        if not 0 < len(target) <= tokens.TARGET_BYTES_MAX or b"\0" in target:
            self._fail(InvalidLinkTarget, name, f"a target of {len(target)} bytes is empty, too long or contains a NUL")
        self._put(head + (tokens.NODE_SYMLINK[len(name) & 7] if head else tokens.SYMLINK))
        self._put(tokens.string(target) + (tokens.CLOSE_ENTRY if head else tokens.CLOSE))
        self._previous = name
        self._complete = not self._names

    def close(self) -> int:
        """Send what is buffered, and say how many bytes the archive has. Raises `IncompleteTree` before the root is complete."""
        if not self._complete:
            self._fail(IncompleteTree, b"", "the root is not complete")
        self._flush()
        return self.written

    def _head(self, name: bytes) -> bytes:
        """What comes before an entry's node, up to its name; empty for the root."""
        if not self._names:
            if self._complete or name:
                self._fail(IncompleteTree, name, "the root is complete" if self._complete else "the root can't have a name")
            return b""
        size = len(name)
        if not 0 < size <= tokens.NAME_BYTES_MAX or b"/" in name or b"\0" in name or name in tokens.DOTS:
            self._fail(InvalidEntryName, name, "it can't be the name of an entry")
        if len(self._names) > tokens.DEPTH_MAX:
            self._fail(TooDeep, name, f"there are over {tokens.DEPTH_MAX} components")
        if name <= self._previous:
            kind: type[InvalidNar] = DuplicateEntry if name == self._previous else UnsortedEntries
            self._fail(kind, name, f"it comes after {self._previous.decode('utf-8', 'surrogateescape')!a}")
        return tokens.ENTRY_HEADS[size] + name

    @staticmethod
    def _file_head(head: bytes, name: bytes, executable: bool) -> bytes:
        if head:
            return head + (tokens.NODE_EXECUTABLE if executable else tokens.NODE_REGULAR)[len(name) & 7]
        return tokens.EXECUTABLE if executable else tokens.REGULAR

    def _put(self, data: bytes) -> None:
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._write(b"".join(self._buffer))
        self.written += self._buffered
        self._buffer = []
        self._buffered = 0

    def _fail(self, kind: type[InvalidNar], name: bytes, reason: str) -> NoReturn:
        names = [*self._names[1:], name] if name else self._names[1:]
        raise kind(offset=self.written + self._buffered, entry=entry_text(names), reason=reason)
