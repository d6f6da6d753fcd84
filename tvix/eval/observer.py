"""What may look on while a program is evaluated: one interface, for traces, profiles, counters and interrupts.

An evaluator without an observer (`Settings.observer`) compiles to the very nodes that it has always had: with one, `nodes.observed`
stand around those that are observed. Results are the same, whoever looks on.
"""

from __future__ import annotations

from tvix.eval.annotations import mypyc_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.values import Value

EXPRESSION: Final = 0
"""Any expression that takes work; its name is its opcode's, as in "select"."""
FUNCTION: Final = 1
"""The body of a function; its name is what it is bound to, and its position the function's."""
BUILTIN: Final = 2
"""A builtin with all its arguments; it has no position."""
FILE: Final = 3
"""A file, by its path."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Observer:
    """Hears of everything that begins, and that it ends. What begins last ends first, whether with a value or with an error."""

    def __init__(self, expressions: bool) -> None:
        self.expressions = expressions
        """Whether it hears of expressions, too. They are many."""

    def begun(self, kind: int, name: str, position: int) -> None:
        """Something is evaluated: a `kind` of above. What this raises ends the evaluation, as Ctrl-C does."""

    def ended(self, kind: int, name: str, value: Value) -> None:
        """It has a value, or none because of an error: then it is `UNDEFINED`."""

    def delayed(self, name: str) -> None:
        """An expression was put off: a thunk was made."""


class Several(Observer):
    """Observers side by side. Each hears of functions, builtins and files; of expressions, those that want to."""

    def __init__(self, observers: list[Observer]) -> None:
        super().__init__(True in [observer.expressions for observer in observers])
        self.observers = observers

    def begun(self, kind: int, name: str, position: int) -> None:
        for observer in self.observers:
            if kind != EXPRESSION or observer.expressions:
                observer.begun(kind, name, position)

    def ended(self, kind: int, name: str, value: Value) -> None:
        for observer in self.observers:
            if kind != EXPRESSION or observer.expressions:
                observer.ended(kind, name, value)

    def delayed(self, name: str) -> None:
        for observer in self.observers:
            if observer.expressions:
                observer.delayed(name)
