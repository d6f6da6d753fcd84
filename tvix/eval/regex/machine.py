"""Matches a program in bounded time, with the groups that `std::regex` would find.

That one backtracks: a loop goes on as long as it can and gives back what it must, but of alternatives *all* are tried, and the
longest match wins, the first of equally long ones. What comes of one place of the program at one place of the text is always the
same, so it is tried once and then remembered: patterns that would take others years take the product of both lengths.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.regex.problems import TooManySteps
from tvix.eval.regex.program import ACCEPT, BEGIN, CHOOSE, END, JUMP, KEEP, READ, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.annotations import i64

_MOST_MARKS: Final = 4_000_000

# What has to be done when the way that was tried is at its end; each is followed by what it needs.
_RESTORE: Final = 0
_AFTER_ONCE_MORE: Final = 1
_AFTER_FIRST: Final = 2
_AFTER_BOTH: Final = 3

_FAILS: Final = 1
_MATCHES: Final = 2
_KNOWN_FAILURE: Final = -1
_KNOWN_MATCH: Final = -2


@final
class Machine:
    """One program on one text. `bounds` are those of the groups of the last match, -1 where a group took no part; `end` its end."""

    def __init__(self, program: Program, text: str, most_steps: i64) -> None:
        self.program = program
        self.text = text
        self.length: i64 = len(text)
        self.bounds: list[int] = []
        self.end: i64 = -1
        self.steps: i64 = 0
        self.most_steps = most_steps
        self._marks: dict[Any, int] = {}
        self._noted: list[Any] = []
        self._stack: list[Any] = []
        self._kept: list[int] = []
        self._start: i64 = 0
        self._whole = False
        self._not_empty = False
        # Where the next way to try begins; `counts` are those of the counted loops, as digits to the base of three.
        self._pc: i64 = 0
        self._at: i64 = 0
        self._counts = 0

    def search(self, start: int) -> int:
        """Where the first match from `start` on begins, -1 where there is none. Raises `TooManySteps`."""
        for at in range(start, int(self.length) + 1):
            if self.matches(at, False, False):
                return at
        return -1

    def matches(self, start: int, whole: bool, not_empty: bool) -> bool:
        """Whether a match begins at `start`: up to the end of the text if `whole`, not an empty one if `not_empty`."""
        self.end = -1
        self._start, self._whole, self._not_empty = start, whole, not_empty
        self._pc, self._at, self._counts = 0, start, 0
        self._stack = []
        self._noted = []
        self._kept = [-1] * (2 * self.program.groups)
        # Where every match ends at the same place, or only one can be found, the first one is the answer.
        first_counts = whole or not self.program.chooses
        found = self._try()
        while not (found and first_counts) and self._go_back(found):
            found = self._try()
        # What matched once may not serve again, since its groups are wanted then; nor does what failed for being empty.
        for key in self._noted:
            if not_empty or self._marks.get(key) == _MATCHES:
                self._marks.pop(key, None)
        return self.end >= 0

    def _try(self) -> bool:
        """Go on until it is clear whether this way leads to a match."""
        program = self.program
        operations, first, sets = program.operations, program.first, program.sets
        text, length = self.text, self.length
        pc, at = self._pc, self._at
        while True:
            self.steps += 1
            operation: i64 = operations[pc]
            if operation == READ:
                if at >= length or not sets[pc][ord(text[at])]:
                    return False
                at += 1
                pc += 1
                self._counts = 0
            elif operation == KEEP:
                slot = first[pc]
                self._stack.append((_RESTORE, slot, self._kept[slot], 0, None))
                self._kept[slot] = int(at)
                pc += 1
            elif operation == JUMP:
                pc = first[pc]
            elif operation in (BEGIN, END):
                if at != (0 if operation == BEGIN else length):
                    return False
                pc += 1
            elif operation == ACCEPT:
                return self._accept(at)
            else:
                pc = self._branch(pc, at)
                if pc < 0:
                    return pc == _KNOWN_MATCH

    def _accept(self, at: i64) -> bool:
        if (self._whole and at != self.length) or (self._not_empty and at == self._start):
            return False
        if at > self.end:
            self.end, self.bounds = at, self._kept.copy()
        return True

    def _branch(self, pc: i64, at: i64) -> i64:
        """Where a branch goes on first; negative if what comes of it is known."""
        program = self.program
        counts = self._counts
        key: Any = (program.branch[pc] + counts * program.branches) * (int(self.length) + 1) + int(at)
        mark = self._marks.get(key, 0)
        if mark:
            return _KNOWN_MATCH if mark == _MATCHES else _KNOWN_FAILURE
        if self.steps > self.most_steps or len(self._marks) > _MOST_MARKS or len(self._stack) > _MOST_MARKS:
            raise TooManySteps
        kind = _AFTER_FIRST
        if program.operations[pc] != CHOOSE:
            kind = _AFTER_ONCE_MORE
            counter = program.counted[pc]
            if counter >= 0:
                weight = int(3**counter)
                if counts // weight % 3 == 2:
                    return program.second[pc]
                self._counts += weight
        self._stack.append((kind, int(pc), int(at), counts, key))
        return program.first[pc]

    def _go_back(self, found: bool) -> bool:
        """Take note of how a way ended; says whether there is another one to try."""
        stack = self._stack
        while stack:
            frame = stack.pop()
            kind: i64 = frame[0]
            if kind == _RESTORE:
                self._kept[frame[1]] = frame[2]
            elif kind == _AFTER_FIRST or (kind == _AFTER_ONCE_MORE and not found):
                stack.append((_AFTER_BOTH, found, 0, 0, frame[4]))
                self._pc, self._at, self._counts = self.program.second[frame[1]], frame[2], frame[3]
                return True
            else:
                if kind == _AFTER_BOTH:
                    found = found or bool(frame[1])
                self._marks[frame[4]] = _MATCHES if found else _FAILS
                self._noted.append(frame[4])
        return False
