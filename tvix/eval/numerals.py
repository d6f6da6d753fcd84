"""How far a number reaches in the source. Texts end in something that is no part of one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.annotations import i64


def digits_end(s: str, i: i64) -> i64:
    """Where the digits from `i` on end."""
    while 48 <= ord(s[i]) <= 57:
        i += 1
    return i


def float_end(s: str, i: i64) -> i64:
    """Where the float at `i` ends; -1 if there is none.

    A float has a point. Before it are digits of which the first isn't 0, or else at most a `0`, and then a digit must follow.
    """
    j = digits_end(s, i)
    if ord(s[j]) != 46:
        return -1
    leads = j > i and ord(s[i]) != 48
    if not leads and (j > i + 1 or not 48 <= ord(s[j + 1]) <= 57):
        return -1
    j = digits_end(s, j + 1)
    if ord(s[j]) != 101 and ord(s[j]) != 69:
        return j
    k = j + 1
    if ord(s[k]) == 43 or ord(s[k]) == 45:
        k += 1
    end = digits_end(s, k)
    return end if end > k else j
