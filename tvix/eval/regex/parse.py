"""Reads a pattern: the syntax of POSIX extended regular expressions, as strict as `std::regex`.

No back references, no lazy quantifiers, no escapes but those of special characters; a quantifier may follow another one, but not
`^`, `$`, `(` or `|`. `]` and `}` stand for themselves, `{` never does.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.regex.brackets import Brackets
from tvix.eval.regex.problems import InvalidPattern, PatternTooLarge
from tvix.eval.regex.tree import ALL, UNBOUNDED, Alternatives, Anchor, Characters, Group, Part, Repeat, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MOST_STATES: Final = 100_000
_ESCAPED: Final = ".[\\()*+?{|^$"
_MOST_COUNT: Final = (1 << 31) - 1


def parse(pattern: str) -> tuple[Part, int]:
    """The tree of a pattern, and how many groups it has. Raises `InvalidPattern` and `PatternTooLarge`."""
    parser = _Parser(pattern)
    tree = parser.alternatives()
    if parser.at < len(pattern):
        raise InvalidPattern
    parser.count(2)
    return tree, parser.groups


@final
class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.groups = 0
        self.states = 1

    def count(self, states: int) -> None:
        """So many states more."""
        self.states += states
        if self.states > _MOST_STATES:
            raise PatternTooLarge

    def alternatives(self) -> Part:
        first = self._sequence()
        if not self._next_is("|"):
            return first
        items: list[Part] = [first]
        while self._next_is("|"):
            self.at += 1
            items.append(self._sequence())
            self.count(2)
        return Alternatives(items)

    def _sequence(self) -> Part:
        items: list[Part] = []
        while True:
            item = self._item()
            if item is None:
                self.count(1)
                return Sequence(items)
            items.append(item)

    def _item(self) -> Part | None:
        """An anchor, or an atom with its quantifiers; None at what ends a sequence."""
        if self.at >= len(self.pattern):
            return None
        c = self.pattern[self.at]
        if c in {"^", "$"}:
            self.at += 1
            self.count(1)
            return Anchor(c == "$")
        atom = self._atom(c)
        while atom is not None and self.at < len(self.pattern):
            quantified = self._quantified(atom)
            if quantified is None:
                break
            atom = quantified
        return atom

    def _atom(self, c: str) -> Part | None:
        if c in {"|", ")", "*", "+", "?", "{"}:
            return None
        self.at += 1
        if c == "(":
            return self._group()
        self.count(1)
        if c == ".":
            return Characters(ALL & ~1)
        if c == "[":
            brackets = Brackets(self.pattern, self.at)
            allowed = brackets.read()
            self.at = brackets.at
            return Characters(allowed)
        if c == "\\":
            if self.at >= len(self.pattern) or self.pattern[self.at] not in _ESCAPED:
                raise InvalidPattern
            c = self.pattern[self.at]
            self.at += 1
        elif c == "\0":
            raise InvalidPattern
        return Characters(1 << ord(c))

    def _group(self) -> Part:
        index = self.groups
        self.groups += 1
        self.count(1)
        inner = self.alternatives()
        if not self._next_is(")"):
            raise InvalidPattern
        self.at += 1
        self.count(1)
        return Group(inner, index)

    def _quantified(self, atom: Part) -> Part | None:
        c = self.pattern[self.at]
        if c not in {"*", "+", "?", "{"}:
            return None
        self.at += 1
        if c == "{":
            return self._counted(atom)
        if c == "?":
            self.count(2)
            return Repeat(atom, 0, 1, atom.states + 2)
        self.count(1)
        return Repeat(atom, 1 if c == "+" else 0, UNBOUNDED, atom.states + 1, c == "+")

    def _counted(self, atom: Part) -> Part:
        least = self._number()
        most = least
        if self._next_is(","):
            self.at += 1
            most = UNBOUNDED if self._next_is("}") else self._number()
        if not self._next_is("}"):
            raise InvalidPattern
        self.at += 1
        required = 1 + least * atom.states
        self.count(required)
        if most == UNBOUNDED:
            optional = atom.states + 1
        elif most < least:
            raise InvalidPattern
        else:
            optional = (most - least) * (atom.states + 1) + 1
        self.count(optional)
        return Repeat(atom, least, most, required + optional)

    def _number(self) -> int:
        start = self.at
        while self.at < len(self.pattern) and "0" <= self.pattern[self.at] <= "9":
            self.at += 1
        if start == self.at or self.at - start > 4300:
            raise InvalidPattern
        number = int(self.pattern[start : self.at])
        if number > _MOST_COUNT:
            raise InvalidPattern
        return number

    def _next_is(self, character: str) -> bool:
        return self.at < len(self.pattern) and self.pattern[self.at] == character
