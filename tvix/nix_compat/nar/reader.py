"""Reads a NAR from anywhere, in bounded memory, and refuses whatever is not the one canonical NAR of a tree.

The stream goes through a window, in which whole runs of strings are matched against their known encodings: that is several times
faster than reading one string after the other. Where a match fails, `diagnosis` reads the same bytes again, string by string, and
says what is wrong. There is no recursion: a stack of names is all that depth costs.

The reader reads to the end of the stream, since it must see that nothing follows; who embeds a NAR in another stream frames it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol

from tvix.nix_compat.nar import diagnosis, tokens
from tvix.nix_compat.nar.errors import NotANar, TooDeep, TrailingData, TruncatedNar, entry_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE_BYTES = 1 << 20
"""The most bytes of a file that are handed out at once; files up to this size come whole."""

_READ_BYTES = 1 << 18
# More than the longest run that is matched without asking how far the window goes: an entry, its name, a symlink target.
_LOOKAHEAD = 1 << 13
# Stands behind the last byte of the stream: no string has such a length, so no match reaches past the end.
_BEYOND = b"\xff" * _LOOKAHEAD

# Runs that end before a string's contents, its length included.
_HEAD = len(tokens.ENTRY) + 8
_NODE_EXECUTABLE = len(tokens.NODE + tokens.EXECUTABLE) + 8
_NODE_REGULAR = len(tokens.NODE + tokens.REGULAR) + 8
_NODE_SYMLINK = len(tokens.NODE + tokens.SYMLINK) + 8

_NODE_DIRECTORY = len(tokens.NODE + tokens.DIRECTORY)
_CLOSE_ENTRY = len(tokens.CLOSE_ENTRY)
_CLOSING_MAX = 7 + _CLOSE_ENTRY


class NarVisitor(Protocol):
    """Is told the nodes of a tree in the order of the NAR. The root's name is empty; other names and all targets have been checked.

    What a visitor was told is not known to be part of a valid NAR until `read_nar` returns.
    """

    def enter_directory(self, name: bytes) -> None:
        """A directory begins; what follows is in it, until `leave_directory`."""

    def leave_directory(self) -> None:
        """The directory that was entered last is complete."""

    def file(self, name: bytes, executable: bool, contents: bytes) -> None:
        """A file of at most `PIECE_BYTES`."""

    def large_file(self, name: bytes, executable: bool, size: int, pieces: Iterator[bytes]) -> None:
        """A larger file. `pieces` may raise `TruncatedNar`; it is good until this returns, and what is left is skipped."""

    def symlink(self, name: bytes, target: bytes) -> None:
        """A symbolic link."""


def read_nar(read: Callable[[int], bytes], visitor: NarVisitor) -> int:
    """Tell `visitor` of every node, and say how many bytes the NAR had. Raises subclasses of `InvalidNar`.

    `read(n)` gives at most n bytes, fewer whenever it likes, and none at the end, as the `read` of a file does.
    """
    return _Reader(read, visitor).run()


class _Reader:
    """`window[position:end]` has been read and not been consumed; `base` is the offset in the stream of the window's first byte."""

    __slots__ = ("_read", "_remaining", "_visitor", "base", "end", "ended", "names", "position", "window")

    def __init__(self, read: Callable[[int], bytes], visitor: NarVisitor) -> None:
        self._read = read
        self._remaining = 0
        self._visitor = visitor
        self.window = b""
        self.position = self.end = self.base = 0
        self.ended = False
        self.names: list[bytes] = []  # of the directories that are open, without the root

    def run(self) -> int:
        self._refill(_LOOKAHEAD)
        if not self.window.startswith(tokens.MAGIC):
            if self.ended and tokens.MAGIC.startswith(self.window[: self.end]):
                raise TruncatedNar(offset=self.end, entry="its head", reason="it ends there")
            raise NotANar(offset=0, entry="its head", reason="it doesn't begin with `nix-archive-1`")
        self.position = len(tokens.MAGIC)
        if self.window.startswith(tokens.DIRECTORY, self.position):
            self.position += len(tokens.DIRECTORY)
            self._visitor.enter_directory(b"")
            self._entries()
            self._visitor.leave_directory()
        else:
            self._root_leaf()
        self._refill(1)
        if self.position < self.end:
            raise TrailingData(offset=self.base + self.position, entry="its end", reason="something follows the archive")
        return self.base + self.position

    def _entries(self) -> None:
        """All that is below the root directory, and the root's closing. This loop handles files that are whole in the window."""
        visit_file, unpack_length, name_max, dots = self._visitor.file, tokens.unpack_length, tokens.NAME_BYTES_MAX, tokens.DOTS
        previous: bytes | None = b""  # the name before, in the directory that is being read; None when the root is closed
        position, limit = self.position, -1
        while previous is not None:
            if position > limit:
                self.position = position
                self._refill(_LOOKAHEAD)
                window, position = self.window, self.position
                starts_with = window.startswith
                limit = self.end if self.ended else self.end - _LOOKAHEAD
            if not starts_with(tokens.ENTRY, position):
                self.position = position
                previous = self._leave(previous)
                position = self.position
                continue
            start = position + _HEAD
            (size,) = unpack_length(window, start - 8)
            after = start + size
            name = window[start:after]
            if size > name_max or name <= previous or b"/" in name or b"\0" in name or name in dots:
                self._refuse_entry(position, previous)
            if starts_with(tokens.NODE_REGULAR[size & 7], after):
                executable, start = False, after + (-size & 7) + _NODE_REGULAR
            elif starts_with(tokens.NODE_EXECUTABLE[size & 7], after):
                executable, start = True, after + (-size & 7) + _NODE_EXECUTABLE
            else:
                self.position = position
                previous = self._directory_or_symlink(name, after, previous)
                position = self.position
                continue
            (size,) = unpack_length(window, start - 8)
            after = start + size
            if size <= PIECE_BYTES and starts_with(tokens.PADDED_CLOSE_ENTRY[size & 7], after):
                visit_file(name, executable, window[start:after])
                previous = name
                position = after + (-size & 7) + _CLOSE_ENTRY
            else:
                self.position = position
                previous = self._file_beyond_window(name, executable, start, size, previous)
                position, limit = self.position, -1

    def _leave(self, previous: bytes) -> bytes | None:
        """Where an entry could stand, no entry stands: the directory must end. Says what is now the name before."""
        names = self.names
        if not names:
            if not self.window.startswith(tokens.CLOSE, self.position):
                self._refuse_entry(self.position, previous)
            self.position += len(tokens.CLOSE)
            return None
        if not self.window.startswith(tokens.CLOSE_ENTRY, self.position):
            self._refuse_entry(self.position, previous)
        self.position += _CLOSE_ENTRY
        self._visitor.leave_directory()
        return names.pop()

    def _directory_or_symlink(self, name: bytes, after: int, previous: bytes) -> bytes:
        """The entry at `position`, whose name ends at `after` and has been checked, isn't a file."""
        window, padding = self.window, -len(name) & 7
        if window.startswith(tokens.NODE_DIRECTORY[len(name) & 7], after):
            self.position = after + padding + _NODE_DIRECTORY
            self.names.append(name)
            if len(self.names) >= tokens.DEPTH_MAX and window.startswith(tokens.ENTRY, self.position):
                reason = f"what is in it has over {tokens.DEPTH_MAX} components"
                raise TooDeep(offset=self.base + self.position, entry=entry_text(self.names), reason=reason)
            self._visitor.enter_directory(name)
            return b""
        if not window.startswith(tokens.NODE_SYMLINK[len(name) & 7], after):
            self._refuse_entry(self.position, previous)
        start = after + padding + _NODE_SYMLINK
        (size,) = tokens.unpack_length(window, start - 8)
        after = start + size
        target = window[start:after]
        if not 0 < size <= tokens.TARGET_BYTES_MAX or b"\0" in target:
            self._refuse_entry(self.position, previous)
        if not window.startswith(tokens.PADDED_CLOSE_ENTRY[size & 7], after):
            self._refuse_entry(self.position, previous)
        self._visitor.symlink(name, target)
        self.position = after + (-size & 7) + _CLOSE_ENTRY
        return name

    def _file_beyond_window(self, name: bytes, executable: bool, start: int, size: int, previous: bytes) -> bytes:
        """The file of the entry at `position`, contents at `start`, is large, or not whole in the window yet, or wrong."""
        need = start - self.position + size + _CLOSING_MAX
        if size <= PIECE_BYTES or start > self.end:  # what lies behind the end is no size
            if self.ended or need <= self.end - self.position:
                self._refuse_entry(self.position, previous)
            self._refill(need)
            return previous
        self.position = start
        self.names.append(name)
        self._large_file(executable, size, tokens.PADDED_CLOSE_ENTRY[size & 7])
        return self.names.pop()

    def _large_file(self, executable: bool, size: int, closing: bytes) -> None:
        """Contents at `position`, of `size` bytes, with `closing` behind them; `names` names the file."""
        if size > tokens.LENGTH_MAX:
            diagnosis.refuse_length(self.base + self.position - 8, self.names, size)
        self._remaining = size
        self._visitor.large_file(self.names[-1] if self.names else b"", executable, size, self._pieces())
        while self._remaining:
            self._piece()
        self._refill(len(closing))
        if not self.window.startswith(closing, self.position):
            diagnosis.refuse_closing(self._rest(), self.names, size)
        self.position += len(closing)

    def _pieces(self) -> Iterator[bytes]:
        while self._remaining:
            yield self._piece()

    def _piece(self) -> bytes:
        """The next bytes of the large file that is being read: from the window while it has any, then straight from the stream."""
        wanted = min(self._remaining, PIECE_BYTES)
        if self.position < self.end:
            piece = self.window[self.position : min(self.position + wanted, self.end)]
            self.position += len(piece)
        else:
            piece = b"" if self.ended else self._read(wanted)
            if not piece:
                missing = f"it ends {self._remaining} bytes before the end of a file"
                raise TruncatedNar(offset=self.base + self.position, entry=entry_text(self.names), reason=missing)
            self.base += len(piece)
        self._remaining -= len(piece)
        return piece

    def _root_leaf(self) -> None:
        """The root where it is not a directory."""
        for head, executable in ((tokens.REGULAR, False), (tokens.EXECUTABLE, True)):
            if self.window.startswith(head, self.position):
                start = self.position + len(head) + 8
                (size,) = tokens.unpack_length(self.window, start - 8)
                if size > PIECE_BYTES and start <= self.end:
                    self.position = start
                    self._large_file(executable, size, tokens.PADDED_CLOSE[size & 7])
                    return
                self._refill(start - self.position + size + _CLOSING_MAX)
                break
        leaf = diagnosis.read_root_leaf(self._rest())
        if leaf.target:
            self._visitor.symlink(b"", leaf.target)
        else:
            self._visitor.file(b"", leaf.executable, leaf.contents)
        self.position = leaf.end - self.base

    def _refill(self, need: int) -> None:
        """Have `need` bytes from `position` on in the window, or all that the stream still has."""
        have = self.end - self.position
        if self.ended or have >= need:
            return
        pieces = [self.window[self.position : self.end]]
        self.base += self.position
        while have < need:
            piece = self._read(_READ_BYTES)
            if not piece:
                self.ended = True
                pieces.append(_BEYOND)
                break
            pieces.append(piece)
            have += len(piece)
        self.window = b"".join(pieces)
        self.position, self.end = 0, have

    def _rest(self) -> diagnosis.Strings:
        return diagnosis.Strings(self.window, self.position, self.end, self.base)

    def _refuse_entry(self, position: int, previous: bytes) -> NoReturn:
        self.position = position
        diagnosis.refuse_entry(self._rest(), self.names, previous)
