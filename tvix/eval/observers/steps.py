"""A trace of every step: what is evaluated, where, in which order, and to what.

call «string»:1:1
  function f «string»:1:10
    + «string»:1:15
    = 3
  = 3
= 3
"""

from __future__ import annotations

from tvix.eval.observer import BUILTIN, FUNCTION, Observer
from tvix.eval.printing import Layout, Printer
from tvix.eval.values import UNDEFINED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tvix.eval.observers.places import Places
    from tvix.eval.values import Value

_WORDS = ("", "function ", "builtin ", "file ")
_DEEPEST = 60
"""Deeper steps are indented no further: the number of their level stands there."""


class StepTrace(Observer):
    """Says a line for each step that begins, and one for its value, as far as that is known."""

    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__(True)
        self.places: Places | None = None
        """Set once there is an evaluator."""
        self._say = say
        self._depth = 0
        layout = Layout()
        layout.depth = 2
        layout.most = 5
        layout.bytes = 60
        self._printer = Printer(layout)

    def begun(self, kind: int, name: str, position: int) -> None:
        if kind == FUNCTION:
            name = name or "(anonymous)"
        place = "" if kind == BUILTIN or self.places is None else self.places.text(position)
        self._line(f"{_WORDS[kind]}{name} {place}".rstrip())
        self._depth += 1

    def ended(self, kind: int, name: str, value: Value) -> None:
        self._depth -= 1
        self._line("failed" if value is UNDEFINED else "= " + self._printer.text(value))

    def _line(self, text: str) -> None:
        depth = self._depth
        indent = "  " * depth if depth <= _DEEPEST else "  " * _DEEPEST + f"[{depth}] "
        self._say(indent + text)
