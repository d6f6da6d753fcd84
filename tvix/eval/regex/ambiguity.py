"""How many ways there are to match: what a backtracking matcher may have to try, before it is asked.

A part is deterministic if the next character always says which way to go: whether a loop goes on, which alternative it is. Then
trying is no dearer than reading. `ways` bounds how many ways a part may match from one place on, in a text of some length.
"""

from __future__ import annotations

from tvix.eval.regex.tree import UNBOUNDED, Alternatives, Characters, Group, Part, Repeat, Sequence, first_characters, is_nullable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

TOO_MANY: Final = 1 << 60
"""Where counting ends."""
_LONG: Final = 100


def is_deterministic(part: Part, follow: int) -> bool:
    """Whether one character decides everything; `follow` are the characters that may come behind the part."""
    if isinstance(part, Group):
        return is_deterministic(part.inner, follow)
    if isinstance(part, Sequence):
        for item in reversed(part.items):
            if not is_deterministic(item, follow):
                return False
            follow = first_characters(item) | (follow if is_nullable(item) else 0)
        return True
    if isinstance(part, Alternatives):
        return alternatives_exclude_each_other(part) and all(is_deterministic(item, follow) for item in part.items)
    if isinstance(part, Repeat):
        first = first_characters(part.inner)
        if is_nullable(part.inner) or (part.least != part.most and first & follow):
            return False
        return is_deterministic(part.inner, follow if part.most == 1 else follow | first)
    return True


def alternatives_exclude_each_other(part: Alternatives) -> bool:
    """Whether the first character decides which one it is."""
    seen = 0
    for item in part.items:
        first = first_characters(item)
        if seen & first or is_nullable(item):
            return False
        seen |= first
    return True


def ways(part: Part, length: int) -> int:
    """An upper bound, at most `TOO_MANY`."""
    found = 1
    if isinstance(part, Group):
        return ways(part.inner, length)
    if isinstance(part, Sequence):
        for item in part.items:
            found = min(TOO_MANY, found * ways(item, length))
    elif isinstance(part, Alternatives):
        each = [ways(item, length) for item in part.items]
        found = max(each) if alternatives_exclude_each_other(part) else min(TOO_MANY, sum(each))
    elif isinstance(part, Repeat):
        found = _ways_to_repeat(part, length)
    return found


def _ways_to_repeat(part: Repeat, length: int) -> int:
    inner = part.inner
    ends = length + 1 if part.most == UNBOUNDED else min(part.most - part.least + 1, length + 1)
    if isinstance(inner, Characters):
        return ends
    if is_nullable(inner):
        return TOO_MANY
    if is_deterministic(inner, first_characters(inner)):
        return length + 1 if part.most != 1 else 1 + ways(inner, length)
    each = ways(inner, length)
    if part.most == UNBOUNDED or part.most > 60:
        return TOO_MANY
    return min(TOO_MANY, (part.most - part.least + 1) * int(each**part.most))


def empty_loops(part: Part) -> bool:
    """Whether something that can match nothing is repeated."""
    if isinstance(part, Group):
        return empty_loops(part.inner)
    if isinstance(part, (Sequence, Alternatives)):
        return any(empty_loops(item) for item in part.items)
    if isinstance(part, Repeat):
        return (part.most != 1 and is_nullable(part.inner)) or empty_loops(part.inner)
    return False


def first_alternative_is_longest(part: Part) -> bool:
    """Whether no two alternatives can match at the same place, so that it doesn't matter whether all of them are tried."""
    if isinstance(part, Group):
        return first_alternative_is_longest(part.inner)
    if isinstance(part, Sequence):
        return all(first_alternative_is_longest(item) for item in part.items)
    if isinstance(part, Alternatives):
        return alternatives_exclude_each_other(part) and all(first_alternative_is_longest(item) for item in part.items)
    if isinstance(part, Repeat):
        return first_alternative_is_longest(part.inner)
    return True


def can_fail_late(part: Part) -> bool:
    """Whether something must still follow a loop: a search may then read far from every place where it begins."""
    if isinstance(part, Group):
        return can_fail_late(part.inner)
    if isinstance(part, Alternatives):
        return any(can_fail_late(item) for item in part.items)
    if isinstance(part, Sequence):
        looped = False
        for item in part.items:
            if (looped and not is_nullable(item)) or can_fail_late(item):
                return True
            looped = looped or _loops(item)
        return False
    if isinstance(part, Repeat):
        return part.least > _LONG or can_fail_late(part.inner) or (part.most != 1 and _loops(part.inner))
    return False


def _loops(part: Part) -> bool:
    if isinstance(part, Group):
        return _loops(part.inner)
    if isinstance(part, (Sequence, Alternatives)):
        return any(_loops(item) for item in part.items)
    return isinstance(part, Repeat) and (part.most == UNBOUNDED or part.most > _LONG or _loops(part.inner))
