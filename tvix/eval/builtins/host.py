"""Builtins that the program which embeds the evaluator brings along: functions of Python that take and return values."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.functions import Primitive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class HostFunction(Primitive):
    """`function` is given what the program gives, thunks as well, and answers with a value in weak head normal form."""

    def __init__(self, name: str, arity: i64, function: Callable[..., Value]) -> None:
        super().__init__(name, arity)
        self.function = function

    def call1(self, first: Value) -> Value:
        return self.function(first)

    def call2(self, first: Value, second: Value) -> Value:
        return self.function(first, second)

    def call3(self, first: Value, second: Value, third: Value) -> Value:
        return self.function(first, second, third)
