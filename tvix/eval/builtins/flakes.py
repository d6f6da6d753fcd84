"""Flake references, taken apart and put together; nothing is fetched for it."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import plain_text, set_of
from tvix.eval.errors import EvalError
from tvix.eval.functions import Primitive
from tvix.eval.strings import ContextString
from tvix.eval.values import force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.annotations import i64
    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value

_TAKEN: Final[tuple[object, ...]] = (str, ContextString, int, bool)


@final
@mypyc_attr(acyclic=True)
class ParseFlakeRef(Primitive):
    """`parseFlakeRef text`: its attributes."""

    def __init__(self, name: str, arity: i64, evaluator: Evaluator) -> None:
        super().__init__(name, arity)
        self.evaluator: Any = evaluator

    def call1(self, first: Value) -> Value:
        from tvix.eval.flake_references import parse_reference

        warnings: list[str] = []
        text = plain_text(first, "while evaluating the argument passed to builtins.parseFlakeRef")
        try:
            return parse_reference(text, warnings)
        finally:
            for warning in warnings:
                self.evaluator.settings.log("warning: " + warning)


@final
@mypyc_attr(acyclic=True)
class FlakeRefToString(Primitive):
    """`flakeRefToString attributes`. Unlike in C++ Nix they may have to be evaluated."""

    def call1(self, first: Value) -> Value:
        from tvix.eval.describe import article
        from tvix.eval.flake_references import reference_text

        given = set_of(first, "while evaluating the argument passed to builtins.flakeRefToString")
        attributes: dict[str, Any] = {}
        for name in sorted(given):
            value: Value = force(given[name])
            if type(value) is int and value < 0:
                raise EvalError(f"negative value given for flake ref attr {name}: {value}")
            if type(value) not in _TAKEN:
                kinds = "integers, Booleans, and strings"
                raise EvalError(
                    f"flake reference attribute sets may only contain {kinds}, but attribute '{name}' is {article(value)}"
                )
            attributes[name] = str(value) if type(value) is ContextString else value
        return reference_text(attributes)


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return [ParseFlakeRef("parseFlakeRef", 1, evaluator), FlakeRefToString("flakeRefToString", 1)]
