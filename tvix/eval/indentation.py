"""What the two quotes of an indented string strip: from all lines what all lines are indented by, and the line of the opening
quotes and that of the closing ones where nothing but spaces is in them.

Interpolations and escapes are no white space, wherever they stand. Lines of nothing but spaces have no say in how much is stripped.
Tabs are not spaces.
"""

from __future__ import annotations

from tvix.eval.syntax import Expression, Interpolated, Literal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_NO_LINES: Final = 1_000_000


WRITTEN, ESCAPED, COMPUTED = 0, 1, 2
"""What a part of an indented string is: text as it stands in the source, an escape, or an interpolation."""


def stripped(parts: list[Expression], kinds: list[int], position: int) -> Expression:
    """The string of `parts`, of the `kinds` above; all but interpolations are `Literal`s."""
    width = _width(parts, kinds)
    kept: list[Expression] = []
    at_start = True
    dropped = 0
    last = len(parts) - 1
    for index, part in enumerate(parts):
        if kinds[index] == COMPUTED or type(part) is not Literal:
            at_start = False
            dropped = 0
            kept.append(part)
            continue
        pieces: list[str] = []
        text = str(part.value)
        at = 0
        while at < len(text):
            if at_start:
                end = _spaces_end(text, at)
                pieces.append(" " * max(0, end - at - max(0, width - dropped)))
                dropped += end - at
                if end == len(text):
                    break
                at_start = text[end] == "\n"
                dropped = 0
                if at_start:
                    pieces.append("\n")
                    at = end + 1
                    continue
                at = end
            newline = text.find("\n", at)
            at_start = newline >= 0
            stop = newline + 1 if at_start else len(text)
            pieces.append(text[at:stop])
            at = stop
        value = "".join(pieces)
        if index == last:
            value = _without_last_line(value)
        if value:
            kept.append(Literal(value, part.position))
    if not kept:
        return Literal("", position)
    only = kept[0]
    if len(kept) == 1 and type(only) is Literal and isinstance(only.value, str):
        return only
    return Interpolated(kept, position)


def _width(parts: list[Expression], kinds: list[int]) -> int:
    """How many spaces every line begins with that has anything else."""
    width: int = _NO_LINES
    at_start = True
    indent = 0
    for index, part in enumerate(parts):
        if kinds[index] != WRITTEN or type(part) is not Literal:
            if at_start:
                at_start = False
                width = min(width, indent)
            continue
        text = str(part.value)
        at = 0
        while at < len(text):
            if at_start:
                end = _spaces_end(text, at)
                indent += end - at
                if end == len(text):
                    break
                if text[end] == "\n":
                    indent = 0
                    at = end + 1
                    continue
                at_start = False
                width = min(width, indent)
                at = end
            newline = text.find("\n", at)
            if newline < 0:
                break
            at_start = True
            indent = 0
            at = newline + 1
    return width


def _spaces_end(text: str, at: int) -> int:
    size = len(text)
    while at < size and text[at] == " ":
        at += 1
    return at


def _without_last_line(text: str) -> str:
    """`text` without a last line of nothing but spaces; its newline stays."""
    newline = text.rfind("\n")
    if newline >= 0 and not text[newline + 1 :].strip(" "):
        return text[: newline + 1]
    return text
