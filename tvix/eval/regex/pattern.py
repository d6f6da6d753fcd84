"""Patterns, each with the way that suits it: `str.split` for plain texts, Python's `re`, or our own machine.

`re` is faster by far, but can't be interrupted and takes 8 ms to load. So it gets only patterns whose cost for the text at hand is
known to be small, and none before the machine has had so much to do that loading it pays.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.regex.ambiguity import TOO_MANY, can_fail_late, empty_loops, first_alternative_is_longest, is_deterministic, ways
from tvix.eval.regex.machine import Machine
from tvix.eval.regex.parse import parse
from tvix.eval.regex.program import Program
from tvix.eval.regex.translate import translated
from tvix.eval.regex.tree import Characters, Part, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.annotations import i64

    Piece = tuple[int, int, list[str | None]]

_HARMLESS: Final = 20_000_000
"""Steps that `re` takes in less than half a second."""
_WORTH_LOADING: Final = 30_000
"""Steps of the machine after which `re` is loaded."""
_MOST_ANALYSED: Final = 1000
"""States of patterns that are looked at more closely; larger ones are for the machine."""


@final
class Effort:
    """What the machine has done in this process, and the most that it may do for one call."""

    def __init__(self) -> None:
        self.steps: i64 = 0
        self.most_steps: i64 = 20_000_000


EFFORT: Final = Effort()


@final
class Pattern:
    """A pattern that was read. Raises `InvalidPattern` and `PatternTooLarge` at once, `TooManySteps` when it matches."""

    def __init__(self, text: str) -> None:
        tree, groups = parse(text)
        self.tree = tree
        self.groups = groups
        self.plain = _plain_text(tree)
        self._program: Program | None = None
        self._compiled: Any = None
        self._is_suitable = tree.states <= _MOST_ANALYSED and not empty_loops(tree)
        self._is_searchable = self._is_suitable and first_alternative_is_longest(tree)
        self._is_deterministic = self._is_suitable and is_deterministic(tree, 0)
        self._fails_late = self._is_suitable and can_fail_late(tree)

    def match(self, text: str) -> list[str | None] | None:
        """The groups where the whole text matches; None where it doesn't."""
        if self._is_suitable and EFFORT.steps > _WORTH_LOADING and self._cost(len(text)) <= _HARMLESS:
            found = self._library().fullmatch(text)
            return None if found is None else list(found.groups())
        machine = Machine(self._machine_program(), text, EFFORT.most_steps)
        matched = machine.matches(0, True, False)
        EFFORT.steps += machine.steps
        return _groups(text, machine.bounds) if matched else None

    def pieces(self, text: str) -> list[Piece]:
        """All matches, one after the other: begin, end, and groups of each."""
        if self._is_searchable and EFFORT.steps > _WORTH_LOADING:
            begins = len(text) if self._fails_late else 1
            if self._cost(len(text)) * begins <= _HARMLESS:
                return [(found.start(), found.end(), list(found.groups())) for found in self._library().finditer(text)]
        return self._searched(text)

    def _searched(self, text: str) -> list[Piece]:
        machine = Machine(self._machine_program(), text, EFFORT.most_steps)
        found: list[Piece] = []
        begin = machine.search(0)
        while begin >= 0:
            end = int(machine.end)
            found.append((begin, end, _groups(text, machine.bounds)))
            if end > begin:
                begin = machine.search(end)
            elif machine.matches(end, False, True):
                begin = end
            else:
                begin = machine.search(end + 1)
        EFFORT.steps += machine.steps
        return found

    def _cost(self, length: int) -> int:
        return (length + 1) * (4 if self._is_deterministic else ways(self.tree, length))

    def _machine_program(self) -> Program:
        if self._program is None:
            self._program = Program(self.tree, self.groups)
        return self._program

    def _library(self) -> Any:
        if self._compiled is None:
            import re

            self._compiled = re.compile(translated(self.tree))
        return self._compiled


def _plain_text(tree: Part) -> str | None:
    """The text that is all that matches, if there is only one and it isn't empty."""
    if not isinstance(tree, Sequence) or not tree.items:
        return None
    text = ""
    for item in tree.items:
        if not isinstance(item, Characters) or item.allowed & (item.allowed - 1) or not item.allowed:
            return None
        text += chr(item.allowed.bit_length() - 1)
    return text


def _groups(text: str, bounds: list[int]) -> list[str | None]:
    return [text[bounds[at] : bounds[at + 1]] if bounds[at + 1] >= 0 else None for at in range(0, len(bounds), 2)]


__all__ = ["TOO_MANY", "Pattern"]
