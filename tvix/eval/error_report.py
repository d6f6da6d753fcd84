"""Errors as C++ Nix prints them: what was going on around them, each with its place and a piece of the source, then the error.

Texts have one character per byte, as strings of the language do: write them with `.encode("latin-1")`.
"""

from __future__ import annotations

from bisect import bisect_right

from tvix.eval.annotations import final
from tvix.eval.errors import ALWAYS, CALL, EvalError
from tvix.eval.positions import CURRENT, Source, line_and_column, line_starts, offset_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.errors import Frame
    from tvix.eval.io import EvalIO
    from tvix.eval.positions import Sources

_ELLIPSIS: Final = "\xe2\x80\xa6"
_SHOWN_WITHOUT_TRACE: Final = 3
"""A frame counts twice where it has a place."""
_FEW_DUPLICATES: Final = 5
_MOST_SUGGESTIONS: Final = 5


@final
class Place:
    """A position, looked up."""

    def __init__(self, source: Source, line: int, column: int) -> None:
        self.source = source
        self.line = line
        self.column = column


def source_text(source: Source, io: EvalIO) -> str | None:
    """The text of a source; None where it can't be read any more."""
    if source.text is not None or source.path is None:
        return source.text
    try:
        return io.read(source.path).decode("latin-1")
    except EvalError:
        return None


def locate(sources: Sources, io: EvalIO, position: int) -> Place | None:
    """Where a position is. None for 0, and where the source can't be read any more."""
    source = sources.of(position)
    text = None if source is None else source_text(source, io)
    if source is None or text is None:
        return None
    line, column = line_and_column(text, offset_of(position))
    return Place(source, line, column)


def position_text(position: int) -> str:
    """A position of the running evaluation, as `file:line:column`."""
    sources, io = CURRENT.sources, CURRENT.io
    place = None if sources is None or io is None else locate(sources, io, position)
    return "\xc2\xabnone\xc2\xbb:" if place is None else f"{place.source.shown}:{place.line}:{place.column}"


def condition_text(sources: Sources, io: EvalIO, position: int, home: str) -> str:
    """The condition of the `assert` at a position, as C++ Nix prints trees. The source is parsed again from there on."""
    from tvix.eval.parser import condition_at
    from tvix.eval.printer import canonical

    source = sources.of(position)
    text = None if source is None else source_text(source, io)
    if source is None or text is None:
        return "condition"
    return canonical(condition_at(text, offset_of(position)), source.base, home)


def name_source(position: int, index: int) -> str:
    """The expression that computes a name, by its place in the path of the selection at a position of the running evaluation, as
    C++ Nix prints it.
    """
    from tvix.eval.parser import selection_at
    from tvix.eval.printer import path_text
    from tvix.eval.syntax import SelectAttribute

    sources, io = CURRENT.sources, CURRENT.io
    source = None if sources is None else sources.of(position)
    text = None if source is None or io is None else source_text(source, io)
    tree = None if text is None else selection_at(text, offset_of(position))
    return path_text([tree.path[index]]) if type(tree) is SelectAttribute else '"${...}"'


def render(error: EvalError, sources: Sources, io: EvalIO, *, show_trace: bool, color: bool) -> str:
    """The text that `nix-instantiate` prints on stderr, without the last newline."""
    return _Report(sources, io, show_trace, color).text(error)


@final
class _Lines:
    """The lines of a source."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = line_starts(text)

    def line(self, number: int) -> str | None:
        """A line by its number, from 1, without its end."""
        if not 1 <= number <= len(self.starts):
            return None
        end = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.text[self.starts[number - 1] : end].rstrip("\r\n")


@final
class _Report:
    """The text of one error."""

    def __init__(self, sources: Sources, io: EvalIO, show_trace: bool, color: bool) -> None:
        self._sources = sources
        self._io = io
        self._show_trace = show_trace
        self._color = color
        self._out: list[str] = []
        self._lines: dict[int, _Lines | None] = {}
        self._shown = 0

    def text(self, error: EvalError) -> str:
        """All of it."""
        if self._trace(error.frames):
            self._out.append("")
            self._out.append(self._red("error:") + " " + error.detail)
        else:
            self._out.append(error.detail)
        self._place(error.position, "")
        if error.suggestions:
            self._out.append(f"Did you mean {self._suggestions(error.suggestions[:_MOST_SUGGESTIONS])}?")
        lines = "\n".join(self._out).rstrip().split("\n")
        whole = [self._red("error:") + (" " + lines[0] if lines[0] else "")]
        whole += [("       " + line).rstrip() for line in lines[1:]]
        return for_terminal("\n".join(whole), self._color)

    def _trace(self, frames: list[Frame]) -> bool:
        """The frames, the outermost first; whether there are any, shown or not. What was shown before isn't shown again
        where that would be more than a few in a row.
        """
        seen: set[tuple[str, int, str]] = set()
        skipped: list[Frame] = []
        truncated = False
        any_frame = False
        for frame in reversed(frames):
            position, text, kind = frame
            if (kind == CALL and not self._show_trace) or not text:
                continue
            if not any_frame:
                self._out.append("")
                any_frame = True
            if not self._show_trace and self._shown > _SHOWN_WITHOUT_TRACE:
                truncated = True
                if kind != ALWAYS:
                    continue
            source = self._sources.of(position)
            key = ("" if source is None else source.path or str(source.number), offset_of(position), text)
            if key in seen:
                skipped.append(frame)
                continue
            seen.add(key)
            self._skipped(skipped)
            skipped = []
            self._shown += 1
            self._frame(frame)
        self._skipped(skipped)
        if truncated:
            self._gap("(stack trace truncated; use '--show-trace' to show the full, detailed trace)")
        return any_frame

    def _skipped(self, skipped: list[Frame]) -> None:
        if len(skipped) > _FEW_DUPLICATES:
            self._gap(f"({len(skipped)} duplicate frames omitted)")
            return
        for frame in skipped:
            self._frame(frame)

    def _gap(self, text: str) -> None:
        self._blank()
        self._out.append(self._purple(text))

    def _blank(self) -> None:
        if self._out != [""]:
            self._out.append("")

    def _frame(self, frame: Frame) -> None:
        self._blank()
        self._out.append(f"{_ELLIPSIS} {frame[1]}")
        if self._place(frame[0], "  "):
            self._shown += 1

    def _place(self, position: int, indent: str) -> bool:
        """Where something is, with the line before and the line after. Says nothing, and False, for 0."""
        source = self._sources.of(position)
        if source is None:
            return False
        at = "\x1b[34;1mat " if self._color else "at "
        lines = self._lines_of(source)
        if lines is None:
            self._out.append(f"{indent}{at}{self._purple(source.shown)}: (source not available)")
            return True
        offset = offset_of(position)
        number = bisect_right(lines.starts, offset)
        column = offset - lines.starts[number - 1] + 1
        self._out.append(f"{indent}{at}{self._purple(f'{source.shown}:{number}:{column}')}:")
        for other in (number - 1, number, number + 1) if lines.text else ():
            line = lines.line(other)
            if line is not None:
                self._out.append(f" {other:5}| {line}")
            if other == number:
                self._out.append("      |" + " " * column + self._red("^"))
        return True

    def _lines_of(self, source: Source) -> _Lines | None:
        if source.number not in self._lines:
            text = source_text(source, self._io)
            self._lines[source.number] = None if text is None else _Lines(text)
        return self._lines[source.number]

    def _suggestions(self, names: tuple[str, ...]) -> str:
        shown = [self._purple(name) for name in names]
        if len(shown) == 1:
            return shown[0]
        return f"one of {', '.join(shown[:-1])} or {shown[-1]}"

    def _red(self, text: str) -> str:
        return f"\x1b[31;1m{text}\x1b[0m" if self._color else text

    def _purple(self, text: str) -> str:
        return f"\x1b[35;1m{text}\x1b[0m" if self._color else text


def for_terminal(text: str, color: bool) -> str:
    """The text with tabs as spaces and without what would disturb a terminal. Only what is visible counts for tabs; lines don't:
    their widths add up, as in C++ Nix.
    """
    if not any(character in text for character in "\t\r\a\x1b"):
        return text
    out: list[str] = []
    width = 0
    index = 0
    while index < len(text):
        character = text[index]
        if character == "\x1b":
            end = _escape_end(text, index)
            if color and text[end - 1] == "m":
                out.append(text[index:end])
            index = end
            continue
        end = index + 1
        if character == "\t":
            spaces = 8 - width % 8
            width += spaces
            out.append(" " * spaces)
        elif character not in "\r\a":
            if character >= "\xc0":
                while end < len(text) and "\x80" <= text[end] <= "\xbf":
                    end += 1
            width += _width(text[index:end])
            out.append(text[index:end])
        index = end
    return "".join(out)


def _escape_end(text: str, start: int) -> int:
    """Where an escape sequence ends."""
    index = start + 1
    if text[index : index + 1] == "[":
        index += 1
        while index < len(text) and "0" <= text[index] <= "?":
            index += 1
        while index < len(text) and " " <= text[index] <= "/":
            index += 1
    return min(index + 1, len(text))


def _width(character: str) -> int:
    """How many columns the bytes of a character take."""
    if len(character) == 1:
        return 1 if character >= " " else 0
    from unicodedata import category, east_asian_width

    decoded = character.encode("latin-1").decode(errors="replace")[0]
    if category(decoded) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(decoded) in "WF" else 1
