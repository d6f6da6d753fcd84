"""The names that somebody may have meant."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

_FARTHEST: Final = 2
_MOST: Final = 3


def nearest(wrong: str, names: Iterable[str]) -> tuple[str, ...]:
    """Up to three of `names` that are at most two edits from `wrong`, the nearest first, then in the order of the alphabet."""
    found: list[tuple[int, str]] = []
    for name in names:
        if abs(len(name) - len(wrong)) <= _FARTHEST:
            distance = _distance(wrong, name)
            if distance <= _FARTHEST:
                found.append((distance, name))
    return tuple(name for _, name in sorted(found)[:_MOST])


def _distance(one: str, other: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]
