"""A warning with its place and the line that it is about."""

from __future__ import annotations

from bisect import bisect_right

from tvix.eval.positions import line_starts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.lint.rule import Finding


class Lines:
    """The lines of one text, one character a byte."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = line_starts(text)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column, in characters of UTF-8, both from 1."""
        number = bisect_right(self._starts, offset)
        return number, len(_decoded(self._text[self._starts[number - 1] : offset])) + 1

    def line(self, number: int) -> str:
        """A line by its number, as ordinary text, without its end."""
        end = self._starts[number] if number < len(self._starts) else len(self._text)
        return _decoded(self._text[self._starts[number - 1] : end].rstrip("\r\n"))


def _decoded(text: str) -> str:
    return text.encode("latin-1").decode(errors="replace")


def frame(finding: Finding, lines: Lines, name: str, level: str, *, color: bool) -> str:
    """The warning in a few lines, as errors are shown."""
    line, column = lines.place(finding.offset)
    end_line, end_column = lines.place(finding.offset + finding.length)
    shown = lines.line(line).replace("\t", " ")
    marks = (end_column if end_line == line else len(shown) + 1) - column
    head = f"{level}: {finding.message} [{finding.rule.identifier}]"
    under = " " * (column - 1) + "^" * max(1, marks)
    if color:
        tint = "31" if level == "error" else "35"
        head = f"\x1b[{tint};1m{level}:\x1b[0m{head[len(level) + 1 :]}"
        under = f"\x1b[{tint};1m{under}\x1b[0m"
    return f"{head}\n       at {name}:{line}:{column}:\n       {line:5}| {shown}\n            | {under}\n"
