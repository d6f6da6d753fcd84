"""Numbers and their order. `sub`, `mul`, `div` and `lessThan` are what `-`, `*`, `/` and `<` call in a trace."""

from __future__ import annotations

from tvix.eval import arithmetic
from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import floating, integer
from tvix.eval.comparison import less
from tvix.eval.functions import Primitive
from tvix.eval.values import force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class Add(Primitive):
    """`add first second`, of numbers only."""

    def call2(self, first: Value, second: Value) -> Value:
        left: Value = force(first)
        return arithmetic.add_numbers(left, force(second))


@final
@mypyc_attr(acyclic=True)
class Sub(Primitive):
    """`sub first second`."""

    def call2(self, first: Value, second: Value) -> Value:
        left: Value = force(first)
        return arithmetic.subtract(left, force(second))


@final
@mypyc_attr(acyclic=True)
class Mul(Primitive):
    """`mul first second`."""

    def call2(self, first: Value, second: Value) -> Value:
        left: Value = force(first)
        return arithmetic.multiply(left, force(second))


@final
@mypyc_attr(acyclic=True)
class Div(Primitive):
    """`div first second`."""

    def call2(self, first: Value, second: Value) -> Value:
        left: Value = force(first)
        return arithmetic.divide(left, force(second))


@final
@mypyc_attr(acyclic=True)
class LessThan(Primitive):
    """`lessThan first second`."""

    def call2(self, first: Value, second: Value) -> Value:
        return less(first, second)


@final
@mypyc_attr(acyclic=True)
class BitAnd(Primitive):
    """`bitAnd first second`."""

    def call2(self, first: Value, second: Value) -> Value:
        left = integer(first, "while evaluating the first argument passed to builtins.bitAnd")
        return left & integer(second, "while evaluating the second argument passed to builtins.bitAnd")


@final
@mypyc_attr(acyclic=True)
class BitOr(Primitive):
    """`bitOr first second`."""

    def call2(self, first: Value, second: Value) -> Value:
        left = integer(first, "while evaluating the first argument passed to builtins.bitOr")
        return left | integer(second, "while evaluating the second argument passed to builtins.bitOr")


@final
@mypyc_attr(acyclic=True)
class BitXor(Primitive):
    """`bitXor first second`."""

    def call2(self, first: Value, second: Value) -> Value:
        left = integer(first, "while evaluating the first argument passed to builtins.bitXor")
        return left ^ integer(second, "while evaluating the second argument passed to builtins.bitXor")


@final
@mypyc_attr(acyclic=True)
class Ceil(Primitive):
    """`ceil number`."""

    def call1(self, first: Value) -> Value:
        value = floating(first, "while evaluating the first argument passed to builtins.ceil")
        cut = arithmetic.whole(value)
        return cut + 1 if cut < value < arithmetic.SMALL else cut


@final
@mypyc_attr(acyclic=True)
class Floor(Primitive):
    """`floor number`."""

    def call1(self, first: Value) -> Value:
        value = floating(first, "while evaluating the first argument passed to builtins.floor")
        cut = arithmetic.whole(value)
        return cut - 1 if -arithmetic.SMALL < value < cut else cut


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return [
        Add("add", 2),
        Sub("sub", 2),
        Mul("mul", 2),
        Div("div", 2),
        LessThan("lessThan", 2),
        BitAnd("bitAnd", 2),
        BitOr("bitOr", 2),
        BitXor("bitXor", 2),
        Ceil("ceil", 1),
        Floor("floor", 1),
    ]
