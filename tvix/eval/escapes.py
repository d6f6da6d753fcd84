"""Escapes in strings, and line ends, which are newlines in double quotes whatever the file has."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


def unescaped(text: str) -> str:
    """The contents of a string: `\\n`, `\\r`, `\\t` and `\\x` for any other x, and every kind of line end as a newline."""
    parts: list[str] = []
    done = 0
    i = 0
    size = len(text)
    while i < size:
        c = text[i]
        if c == "\\" and i + 1 < size:
            parts.append(text[done:i])
            i += 1
            c = text[i]
            parts.append(_ESCAPES.get(c, c))
            done = i + 1
        elif c == "\r":
            parts.append(text[done:i])
            if text[i + 1 : i + 2] != "\n":
                parts.append("\n")
            done = i + 1
        i += 1
    parts.append(text[done:])
    return "".join(parts)


_ESCAPES: Final[dict[str, str]] = {"n": "\n", "r": "\r", "t": "\t"}
