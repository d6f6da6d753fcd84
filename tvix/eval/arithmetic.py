"""Numbers: 64 bits, and an error where they don't suffice."""

from __future__ import annotations

from tvix.eval.coercion import to_text
from tvix.eval.errors import EvalError, TypeMismatch
from tvix.eval.paths import normal
from tvix.eval.strings import with_context
from tvix.eval.values import Path, Thunk, force_thunk, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.values import Value

SMALL: Final = 1 << 61
"""Below this a result surely fits, and mypyc compares without calling anything."""
MAX: Final = (1 << 63) - 1
MIN: Final = -(1 << 63)


def in_range(result: int, verb: str, left: int, sign: str, right: int) -> int:
    """A result that may have outgrown 64 bits. Raises `EvalError`."""
    if MIN <= result <= MAX:
        return result
    raise EvalError(f"integer overflow in {verb} {left} {sign} {right}")


def number(value: Value) -> Value:
    """An integer or a float. Raises `TypeMismatch`."""
    if type(value) is Thunk:
        value = force_thunk(value)
    if type(value) is int or type(value) is float:
        return value
    raise wrong_type("an integer", value)


def add(left: Value, right: Value) -> Value:
    """`left + right` of evaluated values: numbers, a path and what is appended to it, or strings."""
    if type(left) is int and type(right) is int:
        return in_range(left + right, "adding", left, "+", right)
    if type(left) is int or type(left) is float:
        if type(right) is int or type(right) is float:
            return left + right
        from tvix.eval.describe import article

        raise TypeMismatch(f"cannot add {article(right)} to {article(left)}")
    if type(left) is Path:
        context: set[str] = set()
        text = _appended(right, context)
        if context:
            raise EvalError("a string that refers to a store path cannot be appended to a path")
        return Path(normal(left.text + text))
    context = set()
    first = to_text(left, context, False, isinstance(left, str))
    return with_context(first + to_text(right, context, False, isinstance(left, str)), context)


def _appended(value: Value, context: set[str]) -> str:
    try:
        return to_text(value, context, False, False)
    except EvalError as error:
        error.while_(0, "while evaluating a path segment")
        raise


def subtract(left: Value, right: Value) -> Value:
    """`left - right`."""
    left = number(left)
    right = number(right)
    if type(left) is int and type(right) is int:
        return in_range(left - right, "subtracting", left, "-", right)
    return left - right


def multiply(left: Value, right: Value) -> Value:
    """`left * right`."""
    left = number(left)
    right = number(right)
    if type(left) is int and type(right) is int:
        return in_range(left * right, "multiplying", left, "*", right)
    return left * right


def divide(left: Value, right: Value) -> Value:
    """`left / right`; integers are cut off towards zero."""
    left = number(left)
    right = number(right)
    if not right:
        raise EvalError("division by zero")
    if type(left) is int and type(right) is int:
        quotient: int = abs(left) // abs(right)
        return in_range(quotient if (left < 0) == (right < 0) else -quotient, "dividing", left, "/", right)
    return left / right


def negate(value: Value) -> Value:
    """`-value`."""
    return subtract(0, value)
