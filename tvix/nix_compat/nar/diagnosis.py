"""Reads a NAR string by string, the slow way, to say what is wrong where the reader's matching failed.

The reader calls in here with a part of the archive that it could not match; everything legal is matched there, so what comes out is
always an error. The one exception is a root that is not a directory: that is read here, since it comes once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tvix.nix_compat.nar import tokens
from tvix.nix_compat.nar.errors import (
    DuplicateEntry,
    InvalidEntryName,
    InvalidLinkTarget,
    InvalidNar,
    LengthOverflow,
    NonZeroPadding,
    TruncatedNar,
    UnexpectedToken,
    UnsortedEntries,
    entry_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEYWORD_BYTES_MAX = 32


class Strings:
    """The strings in `window[position:end]`; `base` is the offset in the stream of the window's first byte."""

    def __init__(self, window: bytes, position: int, end: int, base: int) -> None:
        self._window = window
        self._position = position
        self._end = end
        self._base = base
        self.names: list[bytes] = []

    @property
    def offset(self) -> int:
        """Where the next string begins, in the stream."""
        return self._base + self._position

    def take(self, maximum: int, too_long: type[InvalidNar], what: str) -> bytes:
        """The next string. One of more than `maximum` bytes is a `too_long`; it is read no further than its length."""
        offset = self.offset
        start = self._position + 8
        if start > self._end:
            self.fail(TruncatedNar, self._base + self._end, f"it ends where {what} should be")
        (size,) = tokens.unpack_length(self._window, self._position)
        if size > tokens.LENGTH_MAX:
            refuse_length(offset, self.names, size)
        if size > maximum:
            self.fail(too_long, offset, f"a string of {size} bytes is too long for {what}")
        after = start + size + (-size & 7)
        if after > self._end:
            self.fail(TruncatedNar, self._base + self._end, f"it ends inside {what}")
        if any(self._window[start + size : after]):
            self.fail(NonZeroPadding, self._base + start + size, f"the padding of {what} is not zero")
        self._position = after
        return self._window[start : start + size]

    def expect(self, *keywords: bytes) -> bytes:
        """The next string, which must be one of `keywords`."""
        what = " or ".join(f"`{keyword.decode()}`" for keyword in keywords)
        offset = self.offset
        found = self.take(_KEYWORD_BYTES_MAX, UnexpectedToken, what)
        if found not in keywords:
            self.fail(UnexpectedToken, offset, f"{found.decode('latin-1')!a} where {what} should be")
        return found

    def skip_padding(self, size: int) -> None:
        """Pass over the padding of a string of `size` bytes whose contents have been read elsewhere."""
        after = self._position + (-size & 7)
        if after > self._end:
            self.fail(TruncatedNar, self._base + self._end, "it ends inside the padding of a file's contents")
        if any(self._window[self._position : after]):
            self.fail(NonZeroPadding, self.offset, "the padding of a file's contents is not zero")
        self._position = after

    def fail(self, kind: type[InvalidNar], offset: int, reason: str) -> NoReturn:
        raise kind(offset=offset, entry=entry_text(self.names), reason=reason)


class Leaf(NamedTuple):
    """A file or a symlink; `end` is the offset in the stream of what follows. A symlink has a target, a file has none."""

    executable: bool
    contents: bytes
    target: bytes
    end: int


def read_root_leaf(strings: Strings) -> Leaf:
    """The root of a NAR where it isn't a directory, whole in the window."""
    leaf = _read_leaf(strings)
    if leaf is None:
        strings.fail(UnexpectedToken, strings.offset, "a directory begins that was not recognised")
    return leaf


def refuse_entry(strings: Strings, names: Sequence[bytes], previous: bytes) -> NoReturn:
    """In directory `names`, after the entry `previous`, there is neither a valid entry nor the directory's end."""
    strings.names = list(names)
    if strings.expect(b"entry", b")") == b"entry":
        strings.expect(b"(")
        strings.expect(b"name")
        offset = strings.offset
        name = strings.take(tokens.NAME_BYTES_MAX, InvalidEntryName, "a name")
        _check_name(strings, offset, name, previous)
        strings.names.append(name)
        strings.expect(b"node")
        if _read_leaf(strings) is not None:
            strings.expect(b")")
    elif names:
        strings.expect(b")")
    strings.fail(UnexpectedToken, strings.offset, "what follows is not recognised")


def refuse_closing(strings: Strings, names: Sequence[bytes], size: int) -> NoReturn:
    """Behind the contents of a large file, of `size` bytes, the file doesn't end as it should; no `names` where it is the root."""
    strings.names = list(names)
    strings.skip_padding(size)
    strings.expect(b")")
    if names:
        strings.expect(b")")
    strings.fail(UnexpectedToken, strings.offset, "what follows is not recognised")


def refuse_length(offset: int, names: Sequence[bytes], size: int) -> NoReturn:
    """A string's length doesn't fit in 63 bits."""
    raise LengthOverflow(offset=offset, entry=entry_text(names), reason=f"a string says that it has {size} bytes")


def _read_leaf(strings: Strings) -> Leaf | None:
    """A node, up to its closing; None for a directory, of which only the head is read."""
    strings.expect(b"(")
    strings.expect(b"type")
    kind = strings.expect(b"regular", b"symlink", b"directory")
    if kind == b"directory":
        return None
    if kind == b"symlink":
        strings.expect(b"target")
        offset = strings.offset
        target = strings.take(tokens.TARGET_BYTES_MAX, InvalidLinkTarget, "a symlink's target")
        if not target or b"\0" in target:
            strings.fail(
                InvalidLinkTarget, offset, "a symlink's target contains a NUL" if target else "a symlink's target is empty"
            )
        strings.expect(b")")
        return Leaf(False, b"", target, strings.offset)
    executable = strings.expect(b"executable", b"contents") == b"executable"
    if executable:
        offset = strings.offset
        if strings.take(_KEYWORD_BYTES_MAX, UnexpectedToken, "the empty string behind `executable`"):
            strings.fail(UnexpectedToken, offset, "the string behind `executable` is not empty")
        strings.expect(b"contents")
    contents = strings.take(tokens.LENGTH_MAX, LengthOverflow, "a file's contents")
    strings.expect(b")")
    return Leaf(executable, contents, b"", strings.offset)


def _check_name(strings: Strings, offset: int, name: bytes, previous: bytes) -> None:
    shown = ascii(name.decode("utf-8", "surrogateescape"))
    if not name:
        strings.fail(InvalidEntryName, offset, "a name is empty")
    if b"/" in name or b"\0" in name:
        strings.fail(InvalidEntryName, offset, f"the name {shown} contains a {'slash' if b'/' in name else 'NUL'}")
    if name in tokens.DOTS:
        strings.fail(InvalidEntryName, offset, f"the name {shown} means another directory")
    if name == previous:
        strings.fail(DuplicateEntry, offset, f"the name {shown} comes twice")
    if name < previous:
        before = ascii(previous.decode("utf-8", "surrogateescape"))
        strings.fail(UnsortedEntries, offset, f"the name {shown} comes after {before}")
