"""The error of a name that is bound twice."""

from __future__ import annotations

from tvix.eval.errors import EvalError
from tvix.eval.values import Thunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.values import Value


def already_defined(name: str, position: int, first: Value) -> EvalError:
    """`first` is what the name was bound to before, in a set."""
    from tvix.eval.error_report import position_text
    from tvix.eval.printer import name_text

    place = first.node.position() if type(first) is Thunk else 0
    return EvalError(f"dynamic attribute '{name_text(name)}' already defined at {position_text(place)}", position)
