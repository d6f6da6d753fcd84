"""Matches a program in bounded time, with the groups that `std::regex` would find.

That one backtracks: a loop goes on as long as it can and gives back what it must; of alternatives *all* are tried, and the longest match
wins, the first of equally long ones. Only the choices that a search has made elsewhere are left alone once it has matched. What happens
from one place of the program at one place of the text on is always the same, so it is tried once and then remembered: patterns that
would take a backtracking matcher years take the product of both lengths.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.regex.problems import TooManySteps
from tvix.eval.regex.program import ACCEPT, BEGIN, CHOOSE, END, JUMP, KEEP, READ, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.annotations import i64

MOST_STEPS: Final = 20_000_000
"""A second or two compiled."""
_MOST_MARKS: Final = 4_000_000

# What has to be done when the way that was tried is at its end; each is followed by what it needs.
_RESTORE: Final = 0
_AFTER_ONCE_MORE: Final = 1
_AFTER_FIRST: Final = 2
_AFTER_BOTH: Final = 3

_FAILS: Final = 1
_MATCHES: Final = 2


@final
class Machine:
    """One program on one text. `bounds` are those of the groups of the last match, -1 where a group took no part; `end` is its end."""

    def __init__(self, program: Program, text: str) -> None:
        self.program = program
        self.text = text
        self.length: i64 = len(text)
        self.bounds: list[int] = []
        self.end: i64 = -1
        self.steps: i64 = 0
        self._marks: dict[Any, int] = {}
        self._stack: list[Any] = []

    def search(self, start: int) -> int:
        """Where the first match from `start` on begins, -1 where there is none. Raises `TooManySteps`."""
        for at in range(start, int(self.length) + 1):
            if self.matches(at, False, False):
                return at
        return -1

    def matches(self, start: int, whole: bool, not_empty: bool) -> bool:
        """Whether a match begins at `start`: up to the end of the text if `whole`, not an empty one if `not_empty`."""
        self.end = -1
        self._stack = []
        noted: list[Any] = []
        found = self._explore(start, whole, not_empty, noted)
        # What matched once may not serve again, since its groups are wanted then; nor does what failed for being empty.
        for key in noted:
            if not_empty or self._marks.get(key) == _MATCHES:
                self._marks.pop(key, None)
        return found

    def _explore(self, start: int, whole: bool, not_empty: bool, noted: list[Any]) -> bool:
        program = self.program
        operations, first, second, branch, counted = (
            program.operations,
            program.first,
            program.second,
            program.branch,
            program.counted,
        )
        stack = self._stack
        text, length = self.text, self.length
        any_end = whole or not program.chooses
        kept = [-1] * (2 * program.groups)
        pc: i64 = 0
        at: i64 = start
        counts = 0
        steps: i64 = 0
        while True:
            found = False
            while True:
                steps += 1
                operation: i64 = operations[pc]
                if operation == READ:
                    if at >= length or not program.sets[pc][ord(text[at])]:
                        break
                    at += 1
                    pc += 1
                    counts = 0
                elif operation == KEEP:
                    slot = first[pc]
                    stack.append((_RESTORE, slot, kept[slot], 0, None))
                    kept[slot] = int(at)
                    pc += 1
                elif operation == JUMP:
                    pc = first[pc]
                elif operation == BEGIN:
                    if at != 0:
                        break
                    pc += 1
                elif operation == END:
                    if at != length:
                        break
                    pc += 1
                elif operation == ACCEPT:
                    if (whole and at != length) or (not_empty and at == start):
                        break
                    if any_end:
                        self.steps += steps
                        self.end, self.bounds = at, kept
                        return True
                    found = True
                    if at > self.end:
                        self.end, self.bounds = at, kept.copy()
                    break
                else:
                    key: Any = (branch[pc] + counts * program.branches) * (int(length) + 1) + int(at)
                    mark = self._marks.get(key, 0)
                    if mark:
                        found = mark == _MATCHES
                        break
                    if operation == CHOOSE:
                        stack.append((_AFTER_FIRST, int(pc), int(at), counts, key))
                    else:
                        counter = counted[pc]
                        if counter >= 0:
                            weight = 3**counter
                            if counts // weight % 3 == 2:
                                pc = second[pc]
                                continue
                            stack.append((_AFTER_ONCE_MORE, int(pc), int(at), counts, key))
                            counts += weight
                        else:
                            stack.append((_AFTER_ONCE_MORE, int(pc), int(at), counts, key))
                    pc = first[pc]
            resumed = False
            while stack:
                frame = stack.pop()
                kind: i64 = frame[0]
                if kind == _RESTORE:
                    kept[frame[1]] = frame[2]
                elif (kind == _AFTER_ONCE_MORE and not found) or kind == _AFTER_FIRST:
                    stack.append((_AFTER_BOTH, found, 0, 0, frame[4]))
                    pc, at, counts = second[frame[1]], frame[2], frame[3]
                    resumed = True
                    break
                else:
                    if kind == _AFTER_BOTH:
                        found = found or bool(frame[1])
                    self._marks[frame[4]] = _MATCHES if found else _FAILS
                    noted.append(frame[4])
            if not resumed:
                self.steps += steps
                return found
            if steps + self.steps > MOST_STEPS or len(self._marks) > _MOST_MARKS:
                raise TooManySteps
