"""A pattern as a list of instructions for `machine`.

| operation | means |
|---|---|
| `READ` | the next character must be one of `sets` |
| `JUMP x` | go on at `x` |
| `KEEP x` | remember the place as bound `x` of a group |
| `BEGIN`, `END` | the text's beginning, its end |
| `CHOOSE x y` | both `x` and `y`, the one that reads more |
| `REPEAT x y` | `x`, which is once more, and if that fails `y` |
| `ACCEPT` | matched |
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.regex.tree import UNBOUNDED, Alternatives, Anchor, Characters, Group, Part, Repeat, Sequence, is_nullable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

READ: Final = 0
JUMP: Final = 1
KEEP: Final = 2
BEGIN: Final = 3
END: Final = 4
CHOOSE: Final = 5
REPEAT: Final = 6
ACCEPT: Final = 7


@final
class Program:
    """One list for each field of the instructions.

    `counted` numbers the loops that may come back without having read anything, -1 for others: `std::regex` enters each of these at
    most twice at one place, and what it remembers of the groups depends on that. `branch` numbers all `CHOOSE` and `REPEAT`.
    """

    def __init__(self, tree: Part, groups: int) -> None:
        self.operations: list[int] = []
        self.first: list[int] = []
        self.second: list[int] = []
        self.sets: list[bytes] = []
        self.counted: list[int] = []
        self.branch: list[int] = []
        self.groups = groups
        self.branches = 0
        self.counters = 0
        self.chooses = False
        self._known_sets: dict[int, bytes] = {}
        self._add(tree, False)
        self._emit(ACCEPT, 0, 0)

    def _emit(self, operation: int, first: int, second: int) -> int:
        self.operations.append(operation)
        self.first.append(first)
        self.second.append(second)
        self.sets.append(b"")
        self.counted.append(-1)
        self.branch.append(-1)
        return len(self.operations) - 1

    def _emit_branch(self, operation: int, is_counted: bool) -> int:
        at = self._emit(operation, 0, 0)
        self.branch[at] = self.branches
        self.branches += 1
        if operation == CHOOSE:
            self.chooses = True
        elif is_counted:
            self.counted[at] = self.counters
            self.counters += 1
        return at

    def _add(self, part: Part, in_empty_loop: bool) -> None:
        if isinstance(part, Characters):
            self.sets[self._emit(READ, 0, 0)] = self._set(part.allowed)
        elif isinstance(part, Sequence):
            for item in part.items:
                self._add(item, in_empty_loop)
        elif isinstance(part, Anchor):
            self._emit(END if part.is_end else BEGIN, 0, 0)
        elif isinstance(part, Group):
            self._emit(KEEP, part.index * 2, 0)
            self._add(part.inner, in_empty_loop)
            self._emit(KEEP, part.index * 2 + 1, 0)
        elif isinstance(part, Alternatives):
            self._add_alternatives(part.items, in_empty_loop)
        elif isinstance(part, Repeat):
            self._add_repeat(part, in_empty_loop)

    def _add_alternatives(self, items: list[Part], in_empty_loop: bool) -> None:
        jumps: list[int] = []
        for item in items[:-1]:
            choice = self._emit_branch(CHOOSE, in_empty_loop)
            self.first[choice] = choice + 1
            self._add(item, in_empty_loop)
            jumps.append(self._emit(JUMP, 0, 0))
            self.second[choice] = len(self.operations)
        self._add(items[-1], in_empty_loop)
        for jump in jumps:
            self.first[jump] = len(self.operations)

    def _add_repeat(self, part: Repeat, in_empty_loop: bool) -> None:
        if part.after:
            inside = in_empty_loop or is_nullable(part.inner)
            start = len(self.operations)
            self._add(part.inner, inside)
            again = self._emit_branch(REPEAT, inside)
            self.first[again], self.second[again] = start, again + 1
            return
        for _ in range(part.least):
            self._add(part.inner, in_empty_loop)
        if part.most == UNBOUNDED:
            inside = in_empty_loop or is_nullable(part.inner)
            again = self._emit_branch(REPEAT, inside)
            self._add(part.inner, inside)
            self._emit(JUMP, again, 0)
            self.first[again], self.second[again] = again + 1, len(self.operations)
            return
        optional: list[int] = []
        for _ in range(part.most - part.least):
            optional.append(self._emit_branch(REPEAT, in_empty_loop))
            self._add(part.inner, in_empty_loop)
        for again in optional:
            self.first[again], self.second[again] = again + 1, len(self.operations)

    def _set(self, allowed: int) -> bytes:
        known = self._known_sets.get(allowed)
        if known is None:
            known = bytes([allowed >> character & 1 for character in range(256)])
            self._known_sets[allowed] = known
        return known
