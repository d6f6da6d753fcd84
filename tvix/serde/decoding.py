"""One pass over a value: forces what the schema asks for, and collects what is wrong."""

from __future__ import annotations

from tvix.eval.describe import describe
from tvix.eval.errors import EvalError, StackOverflow
from tvix.eval.values import Thunk, force_thunk
from tvix.serde.errors import Problem
from tvix.serde.places import Place
from tvix.serde.shapes.interface import FAILED
from tvix.serde.text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.values import Value
    from tvix.serde.shapes.interface import Failed, Shape

MAX_DEPTH: Final = 1000
"""How deeply values may be nested. Those that contain themselves come to an end here."""


class Found:
    """A problem and its place, not looked up yet. `name_only` means the name of the attribute instead of its value."""

    __slots__ = ("name_only", "place", "problem")

    def __init__(self, problem: Problem, place: Place, name_only: bool) -> None:
        self.problem = problem
        self.place = place
        self.name_only = name_only


class Decoding:
    """The state of one pass."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self._depth = 0

    def decode(self, shape: Shape, slot: Value, place: Place) -> object:
        """A value or thunk as the shape has it, or `FAILED`. Raises what evaluation raises, saying where."""
        value = slot
        if type(slot) is Thunk:
            try:
                value = force_thunk(slot)
            except EvalError as error:
                error.while_(place.position, f"while evaluating {_named(place)} for its schema")
                raise
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise StackOverflow(f"values nested more deeply than {MAX_DEPTH} levels", place.position)
        result = shape.decode(value, place, self)
        self._depth -= 1
        return result

    def report(self, kind: str, message: str, place: Place, expected: str = "") -> Problem:
        """Note a problem with the value at a place."""
        problem = Problem(kind, place.path(), message, expected)
        self.found.append(Found(problem, place, False))
        return problem

    def report_name(self, kind: str, message: str, place: Place, suggestions: tuple[str, ...]) -> None:
        """Note a problem with the name of an attribute."""
        problem = Problem(kind, place.path(), message, "", suggestions)
        self.found.append(Found(problem, place, True))

    def wrong_type(self, expected: str, value: Value, place: Place) -> Failed:
        """Note that a value is of another kind."""
        found = "null" if value is None else shown(describe(value))
        self.report("wrong-type", f"expected {expected} but found {found}", place, expected)
        return FAILED


def _named(place: Place) -> str:
    path = place.path()
    return f"'{path}'" if path else "the value"
