"""Numbers: 64 bits, and an error where they don't suffice."""

from __future__ import annotations

from tvix.eval.builtins.arguments import floating, integer
from tvix.eval.coercion import to_text
from tvix.eval.errors import EvalError, TypeMismatch
from tvix.eval.paths import normal
from tvix.eval.strings import with_context
from tvix.eval.values import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.values import Value

SMALL: Final = 1 << 61
"""Below this a result surely fits, and mypyc compares without calling anything."""
HALF: Final = 1 << 30
"""Below this a product surely fits."""
MAX: Final = (1 << 63) - 1
MIN: Final = -(1 << 63)
_LIMIT: Final = 9223372036854775808.0
"""The least float that is too large for an integer."""
SEGMENT: Final = "while evaluating a path segment"
"""What traces say of every string that is made of parts."""


def in_range(result: int, verb: str, left: int, sign: str, right: int) -> int:
    """A result that may have outgrown 64 bits. Raises `EvalError`."""
    if MIN <= result <= MAX:
        return result
    raise EvalError(f"integer overflow in {verb} {left} {sign} {right}")


def is_float(left: Value, right: Value) -> bool:
    """Whether two numbers make a float."""
    return type(left) is float or type(right) is float


def add_numbers(left: Value, right: Value) -> Value:
    """`builtins.add`, which takes numbers only, evaluated."""
    if is_float(left, right):
        one = floating(left, "while evaluating the first argument of the addition")
        return one + floating(right, "while evaluating the second argument of the addition")
    first = integer(left, "while evaluating the first argument of the addition")
    second = integer(right, "while evaluating the second argument of the addition")
    return in_range(first + second, "adding", first, "+", second)


def add(left: Value, right: Value, position: int, operator: int) -> Value:
    """`left + right` of evaluated values, the left one a number, a string, or a path to which something is appended. `position` is
    that of the right one.
    """
    if type(left) is int and type(right) is int:
        try:
            return in_range(left + right, "adding", left, "+", right)
        except EvalError as error:
            raise error.at(position) from None
    if type(left) is int or type(left) is float:
        if type(right) is int or type(right) is float:
            return left + right
        from tvix.eval.describe import article

        raise TypeMismatch(f"cannot add {article(right)} to {article(left)}", position)
    context: set[str] = set()
    if type(left) is Path:
        text = to_text(right, context, False, False, SEGMENT, position)
        if context:
            raise EvalError("a string that refers to a store path cannot be appended to a path", operator)
        return Path(normal(left.text + text))
    first = to_text(left, context, False, True)
    return with_context(first + to_text(right, context, False, True, SEGMENT, position), context)


def subtract(left: Value, right: Value) -> Value:
    """`left - right` of evaluated values."""
    if is_float(left, right):
        one = floating(left, "while evaluating the first argument of the subtraction")
        return one - floating(right, "while evaluating the second argument of the subtraction")
    first = integer(left, "while evaluating the first argument of the subtraction")
    second = integer(right, "while evaluating the second argument of the subtraction")
    return in_range(first - second, "subtracting", first, "-", second)


def multiply(left: Value, right: Value) -> Value:
    """`left * right` of evaluated values."""
    if is_float(left, right):
        one = floating(left, "while evaluating the first of the multiplication")
        return one * floating(right, "while evaluating the second argument of the multiplication")
    first = integer(left, "while evaluating the first argument of the multiplication")
    second = integer(right, "while evaluating the second argument of the multiplication")
    return in_range(first * second, "multiplying", first, "*", second)


def divide(left: Value, right: Value) -> Value:
    """`left / right` of evaluated values; integers are cut off towards zero."""
    divisor = floating(right, "while evaluating the second operand of the division")
    if divisor == 0.0:
        raise EvalError("division by zero")
    if is_float(left, right):
        return floating(left, "while evaluating the first operand of the division") / divisor
    first = integer(left, "while evaluating the first operand of the division")
    second = integer(right, "while evaluating the second operand of the division")
    quotient: int = abs(first) // abs(second)
    return in_range(quotient if (first < 0) == (second < 0) else -quotient, "dividing", first, "/", second)


def negate(value: Value) -> Value:
    """`-value`."""
    return subtract(0, value)


def whole(value: float) -> int:
    """A float without fraction as an integer: what doesn't fit is what x86's conversion makes of it, the least integer."""
    return int(value) if -_LIMIT <= value < _LIMIT else MIN
