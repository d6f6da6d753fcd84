"""Version numbers, and names that end in one."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import plain_text
from tvix.eval.functions import Primitive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.annotations import i64
    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value

_SEPARATOR: Final = 0
_DIGIT: Final = 1
_WORD: Final = 2
_LARGEST: Final = (1 << 31) - 1
"""A component that exceeds this isn't a number to C++ Nix, but a word."""
_LONG: Final = 20
"""Python refuses to read very long numbers; so many digits are enough to see that one is too large."""


def components(version: str) -> list[str]:
    """A version in parts: numbers and what stands between them, cut at dots and dashes."""
    parts: list[str] = []
    at: i64 = 0
    end: i64 = len(version)
    start: i64 = 0
    kind = _SEPARATOR
    while at < end:
        this = _kind_of(ord(version[at]))
        if this != kind:
            if kind != _SEPARATOR:
                parts.append(version[start:at])
            kind = this
            start = at
        at += 1
    if kind != _SEPARATOR:
        parts.append(version[start:])
    return parts


def _kind_of(character: i64) -> i64:
    if character == 45 or character == 46:  # - and .
        return _SEPARATOR
    return _DIGIT if 48 <= character <= 57 else _WORD


def compare(left: str, right: str) -> int:
    """-1, 0 or 1, as the left version is older, the same, or newer."""
    ones, others = components(left), components(right)
    for index in range(max(len(ones), len(others))):
        one = ones[index] if index < len(ones) else ""
        other = others[index] if index < len(others) else ""
        if _is_older(one, other):
            return -1
        if _is_older(other, one):
            return 1
    return 0


def _is_older(one: str, other: str) -> bool:
    """`pre` is older than everything, words are older than numbers, and nothing is older than a number."""
    first, second = _number(one), _number(other)
    if first >= 0 and second >= 0:
        return first < second
    if not one and second >= 0:
        return True
    if one == "pre" and other != "pre":
        return True
    if other == "pre":
        return False
    if second >= 0:
        return True
    if first >= 0:
        return False
    return one < other


def _number(component: str) -> int:
    if not component or _kind_of(ord(component[0])) != _DIGIT:
        return -1
    number = int(component) if len(component) < _LONG else int(component.lstrip("0")[:_LONG] or "0")
    return number if number <= _LARGEST else -1


@final
@mypyc_attr(acyclic=True)
class CompareVersions(Primitive):
    """`compareVersions first second`."""

    def call2(self, first: Value, second: Value) -> Value:
        left = plain_text(first, "while evaluating the first argument passed to builtins.compareVersions")
        return compare(left, plain_text(second, "while evaluating the second argument passed to builtins.compareVersions"))


@final
@mypyc_attr(acyclic=True)
class ParseDrvName(Primitive):
    """`parseDrvName name`: the version begins after the first dash that no letter follows."""

    def call1(self, first: Value) -> Value:
        name = plain_text(first, "while evaluating the first argument passed to builtins.parseDrvName")
        dash = name.find("-")
        while dash >= 0 and dash + 1 < len(name):
            after = name[dash + 1]
            if not ("a" <= after <= "z" or "A" <= after <= "Z"):
                return {"name": name[:dash], "version": name[dash + 1 :]}
            dash = name.find("-", dash + 1)
        return {"name": name, "version": ""}


@final
@mypyc_attr(acyclic=True)
class SplitVersion(Primitive):
    """`splitVersion version`."""

    def call1(self, first: Value) -> Value:
        return tuple(components(plain_text(first, "while evaluating the first argument passed to builtins.splitVersion")))


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return [CompareVersions("compareVersions", 2), ParseDrvName("parseDrvName", 1), SplitVersion("splitVersion", 1)]
