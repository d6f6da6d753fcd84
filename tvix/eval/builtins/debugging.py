"""Builtins that say something while a program runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.evaluator import Evaluator
    from tvix.eval.functions import Primitive


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return []
