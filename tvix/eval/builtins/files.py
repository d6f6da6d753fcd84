"""Builtins that look at files, and the search path."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.evaluator import Evaluator
    from tvix.eval.functions import Primitive


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return []


def constants(evaluator: Evaluator) -> list[tuple[str, object]]:
    """What this theme has that is no function."""
    return []
