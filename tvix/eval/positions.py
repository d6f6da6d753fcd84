"""Where in which source something stands, as one integer: the source's number in the upper bits, the byte offset in the lower 32.

0 is no position. Sources are numbered in the order in which they are read and never forgotten; their text is only looked at when
a position is printed. Lines and columns count from 1, columns in bytes, as C++ Nix counts them; `\n`, `\r\n` and `\r` end a line.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.io import EvalIO

OFFSET_BITS: Final = 32
_OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1


class Source:
    """One text that was parsed: a file by its `path`, or a string by what it is called, such as `«string»` or `«stdin»`.

    `text` is kept for strings; None for files, which are read again. `base` is the directory that relative paths start from.
    `shown` is what the source is called, one character per byte, as paths are.
    """

    __slots__ = ("base", "name", "number", "path", "shown", "text")

    def __init__(self, number: int, name: str, path: str | None, base: str, text: str | None) -> None:
        self.number = number
        self.name = name
        self.path = path
        self.base = base
        self.text = text
        self.shown = name.encode().decode("latin-1") if path is None else path

    def position(self, offset: int) -> int:
        """The position of a byte offset in this source."""
        return self.number << OFFSET_BITS | offset


class Sources:
    """All sources of an evaluator."""

    def __init__(self) -> None:
        self._all: list[Source] = []

    def file(self, path: str) -> Source:
        """A new source for the file at `path`, absolute and without symlinks in it."""
        return self._add(path, path, path.rpartition("/")[0] or "/", None)

    def string(self, text: str, base: str, name: str = "«string»") -> Source:
        """A new source for a text that lies in no file."""
        return self._add(name, None, base, text)

    def of(self, position: int) -> Source | None:
        """The source that a position lies in."""
        return self._all[(position >> OFFSET_BITS) - 1] if position else None

    def count(self) -> int:
        """How many there are."""
        return len(self._all)

    def _add(self, name: str, path: str | None, base: str, text: str | None) -> Source:
        source = Source(len(self._all) + 1, name, path, base, text)
        self._all.append(source)
        return source


class Current:
    """The sources of the evaluation that is running, for errors that quote a position, and what reads them again."""

    __slots__ = ("io", "sources")

    def __init__(self) -> None:
        self.sources: Sources | None = None
        self.io: EvalIO | None = None


CURRENT: Final = Current()


def offset_of(position: int) -> int:
    """The byte offset inside its source."""
    return position & _OFFSET_MASK


def line_starts(text: str) -> list[int]:
    """The offset of every line, that after the last end of a line too."""
    starts = [0]
    if "\r" not in text:
        found = text.find("\n") + 1
        while found:
            starts.append(found)
            found = text.find("\n", found) + 1
        return starts
    for index, character in enumerate(text):
        if character == "\n" or (character == "\r" and text[index + 1 : index + 2] != "\n"):
            starts.append(index + 1)
    return starts


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Both from 1. A carriage return before a newline belongs to the line's end."""
    if "\r" not in text:
        return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
    starts = line_starts(text[: offset + 1])
    while starts[-1] > offset:
        starts.pop()
    return len(starts), offset - starts[-1] + 1
