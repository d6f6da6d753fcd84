"""What stands in brackets: `[a-z_]`, `[^[:space:]]`, `[]-]`.

A backslash is a character like others. A dash is one only at the beginning or the end, and a range may begin with one; libstdc++
refuses it everywhere else. Bytes from 128 are less than all others in a range, since `char` is signed.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.regex.collating import character_named, class_named, equivalents, span
from tvix.eval.regex.problems import InvalidPattern
from tvix.eval.regex.tree import ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_NOTHING: Final = -1
_CLASS: Final = -2


@final
class Brackets:
    """Reads one bracket expression: `at` is behind its `[` before, and behind its `]` after `read`."""

    def __init__(self, pattern: str, at: int) -> None:
        self.pattern = pattern
        self.at = at
        self.found = 0
        self.last = _NOTHING
        """The character that a range could begin with, `_CLASS` after a class, else `_NOTHING`."""

    def read(self) -> int:
        """The characters. Raises `InvalidPattern`."""
        negated = self._next_is("^")
        if negated:
            self.at += 1
        if self._next_is("]") or self._next_is("-"):
            self._single(ord(self.pattern[self.at]))
            self.at += 1
        while self._more():
            pass
        return ALL & ~self.found if negated else self.found

    def _more(self) -> bool:
        """Read one item; says whether the brackets go on."""
        c = self._take()
        if c == "]":
            return False
        if c == "-":
            return self._dash()
        if c == "[":
            self._opening()
        else:
            self._single(ord(c))
        return True

    def _opening(self) -> None:
        """`[` inside: alone, or the beginning of a name."""
        kind = self._peek()
        if kind not in {".", ":", "="}:
            self._single(91)
            return
        name = self._name(kind)
        if kind == ":":
            allowed = class_named(name)
            if not allowed:
                raise InvalidPattern
            self.found |= allowed
            self.last = _CLASS
            return
        character = character_named(name)
        if character < 0:
            raise InvalidPattern
        if kind == "=":
            self.found |= equivalents(character)
            self.last = _CLASS
        else:
            self._single(character)

    def _name(self, kind: str) -> str:
        self.at += 1
        end = self.pattern.find(kind, self.at)
        if end < 0 or self.pattern[end + 1 : end + 2] != "]":
            raise InvalidPattern
        name = self.pattern[self.at : end]
        self.at = end + 2
        return name

    def _dash(self) -> bool:
        if self._next_is("]"):
            self.at += 1
            self._single(45)
            return False
        if self.last < 0:
            raise InvalidPattern
        c = self._take()
        if c == "]" or (c == "[" and self._peek() in {".", ":", "="}):
            raise InvalidPattern
        self._range(self.last, ord(c))
        self.last = _NOTHING
        return True

    def _range(self, first: int, last: int) -> None:
        if _signed(first) > _signed(last):
            raise InvalidPattern
        if first >= 128 > last:
            self.found |= span(first, 255) | span(0, last)
        else:
            self.found |= span(first, last)

    def _single(self, character: int) -> None:
        self.found |= 1 << character
        self.last = character

    def _next_is(self, character: str) -> bool:
        return self.at < len(self.pattern) and self.pattern[self.at] == character

    def _peek(self) -> str:
        if self.at >= len(self.pattern):
            raise InvalidPattern
        return self.pattern[self.at]

    def _take(self) -> str:
        c = self._peek()
        self.at += 1
        return c


def _signed(character: int) -> int:
    return character - 256 if character >= 128 else character
