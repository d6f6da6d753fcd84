"""How much of everything an evaluation did, under the names that `NIX_SHOW_STATS` has for it."""

from __future__ import annotations

from tvix.eval.observer import BUILTIN, EXPRESSION, FUNCTION, Observer
from tvix.eval.values import UNDEFINED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.observers.places import Places
    from tvix.eval.values import Value

_MOST_FUNCTIONS: Final = 50
_SETS: Final = ("set", "rec")
_SCOPES: Final = ("let", "rec", "with", "inherit")
_SELECTIONS: Final = ("select", "select-path", "select-or", "has")


class Counters(Observer):
    """Counts what begins. A function that is given several arguments at once counts as one call."""

    def __init__(self) -> None:
        super().__init__(True)
        self._expressions: dict[str, int] = {}
        self._functions: dict[tuple[str, int], int] = {}
        self._builtins: dict[str, int] = {}
        self._files = 0
        self._thunks = 0
        self._sets = 0
        self._attributes = 0
        self._items = 0

    def begun(self, kind: int, name: str, position: int) -> None:
        if kind == EXPRESSION:
            self._expressions[name] = self._expressions.get(name, 0) + 1
        elif kind == BUILTIN:
            self._builtins[name] = self._builtins.get(name, 0) + 1
        elif kind == FUNCTION:
            key = (name, position)
            self._functions[key] = self._functions.get(key, 0) + 1
        else:
            self._files += 1

    def ended(self, kind: int, name: str, value: Value) -> None:
        if value is UNDEFINED or kind != EXPRESSION:
            return
        if name in _SETS:
            self._sets += 1
            self._attributes += len(value)
        elif name == "list":
            self._items += len(value)

    def delayed(self, name: str) -> None:
        self._thunks += 1

    def numbers(self) -> dict[str, Any]:
        """What was counted. `expressions` counts them by kind, `primops` builtins by name."""
        expressions = self._expressions
        calls = sum(self._functions.values())
        return {
            "envs": {"number": calls + sum([expressions.get(name, 0) for name in _SCOPES])},
            "list": {"elements": self._items, "concats": expressions.get("++", 0)},
            "nrFiles": self._files,
            "nrFunctionCalls": calls,
            "nrLookups": sum([expressions.get(name, 0) for name in _SELECTIONS]),
            "nrOpUpdates": expressions.get("//", 0),
            "nrPrimOpCalls": sum(self._builtins.values()),
            "nrThunks": self._thunks,
            "sets": {"elements": self._attributes, "number": self._sets},
            "expressions": dict(sorted(expressions.items())),
            "primops": _most_first(self._builtins),
        }

    def functions(self, places: Places) -> list[dict[str, Any]]:
        """The functions that were called most often."""
        often = sorted(self._functions.items(), key=_by_count)[:_MOST_FUNCTIONS]
        return [{"name": name or None, "at": places.text(position), "count": count} for (name, position), count in often]


def _by_count(entry: tuple[tuple[str, int], int]) -> tuple[int, str, int]:
    return (-entry[1], *entry[0])


def _most_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=_by_number))


def _by_number(entry: tuple[str, int]) -> tuple[int, str]:
    return (-entry[1], entry[0])
