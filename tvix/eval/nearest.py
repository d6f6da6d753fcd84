"""The names that somebody may have meant."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

_FARTHEST: Final = 2
_MOST: Final = 5


def nearest(wrong: str, names: Iterable[str]) -> tuple[str, ...]:
    """Up to five of `names` that are at most two edits from `wrong`, the nearest first, then in the order of the alphabet."""
    found: list[tuple[int, str]] = []
    for name in names:
        if abs(len(name) - len(wrong)) <= _FARTHEST:
            distance = _distance(wrong, name)
            if distance <= _FARTHEST:
                found.append((distance, name))
    return tuple([name for _, name in sorted(found)[:_MOST]])


def _distance(one: str, other: str) -> int:
    """Levenshtein's distance; any that is too far is the same. Only what lies near the diagonal can be near enough."""
    far = _FARTHEST + 1
    width = len(other)
    row = [min(column, far) for column in range(width + 1)]
    for i in range(1, len(one) + 1):
        left = one[i - 1]
        first = max(1, i - _FARTHEST)
        before = row[first - 1]
        row[first - 1] = min(i, far) if first == 1 else far
        least = row[first - 1]
        for j in range(first, min(width, i + _FARTHEST) + 1):
            best = before if left == other[j - 1] else min(before, row[j], row[j - 1]) + 1
            before = row[j]
            row[j] = best
            least = min(least, best)
        if least > _FARTHEST:
            return far
        if i + _FARTHEST < width:
            row[i + _FARTHEST + 1] = far
    return row[width]
