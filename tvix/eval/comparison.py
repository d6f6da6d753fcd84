"""`==` and `<`."""

from __future__ import annotations

from tvix.eval.attribute_order import in_order
from tvix.eval.errors import EvalError, TypeMismatch
from tvix.eval.functions import FormalsLambda, Function, Lambda, is_function
from tvix.eval.nodes.sets import Binding
from tvix.eval.nodes.variables import is_variable
from tvix.eval.strings import ContextString
from tvix.eval.values import UNDEFINED, Path, Thunk, enter, force, force_thunk, known, leave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.values import Value


def equal(left: Value, right: Value) -> bool:
    """Whether two values are the same. Functions never are, but in sets and lists the very same one is; derivations are compared by
    their outPath; 1 and 1.0 are the same.
    """
    if type(left) is Thunk:
        left = force_thunk(left)
    if type(right) is Thunk:
        right = force_thunk(right)
    if type(left) is str or type(left) is ContextString:
        return isinstance(right, str) and left == right
    if type(left) is dict:
        if type(right) is not dict:
            return False
        return _equal_sets(left, right)
    if type(left) is tuple:
        if type(right) is not tuple:
            return False
        return _equal_lists(left, right)
    if type(left) is bool or type(right) is bool or left is None or right is None:
        return left is right
    if type(left) is int or type(left) is float:
        return (type(right) is int or type(right) is float) and _equal_numbers(left, right)
    if type(left) is Path:
        return type(right) is Path and left.text == right.text
    return False


def _equal_numbers(left: Value, right: Value) -> bool:
    """An integer beside a float is rounded to a float first."""
    if type(left) is int:
        return bool(left == right) if type(right) is int else bool(float(left) == right)
    return bool(left == right) if type(right) is float else bool(left == float(right))


def _equal_sets(left: dict[str, Any], right: dict[str, Any]) -> bool:
    if "type" in left and "type" in right and is_derivation(left) and is_derivation(right):
        one: Value = left.get("outPath", UNDEFINED)
        other: Value = right.get("outPath", UNDEFINED)
        if one is not UNDEFINED and other is not UNDEFINED:
            return equal(one, other)
    if len(left) != len(right):
        return False
    names = in_order(left)
    for name in names:
        if name not in right:
            return False
    enter()
    for name in names:
        if not same(left[name], right[name]):
            leave()
            return False
    leave()
    return True


def _equal_lists(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    if len(left) != len(right):
        return False
    enter()
    for index in range(len(left)):
        if not same(left[index], right[index]):
            leave()
            return False
    leave()
    return True


def same(left: Value, right: Value) -> bool:
    """Inside of sets and lists what is kept in the same place is equal to itself, functions too; its evaluation may still fail."""
    one: Value = force(left)
    other: Value = force(right)
    if in_same_place(left, right):
        return True
    try:
        return equal(one, other)
    except EvalError as error:
        error.__traceback__ = None  # of a value without end it would fill the memory
        raise


def in_same_place(left: Value, right: Value) -> bool:
    """Whether two items of sets or lists, which are evaluated, are one value in C++ Nix's memory."""
    return left is right or (known(left) is known(right) and _is_shared(left) and _is_shared(right))


def _is_shared(value: Value) -> bool:
    """Whether C++ Nix keeps no copy of the value here: it is a variable's, or was written here."""
    if type(value) is not Thunk:
        return True
    binding = value.node
    if type(binding) is not Binding:
        return False
    node = binding.node
    return is_variable(node) or type(node) is Lambda or type(node) is FormalsLambda


def is_derivation(attributes: dict[str, Any]) -> bool:
    """Whether a set has `type = "derivation"`."""
    kind: Value = force(attributes.get("type", UNDEFINED))
    return isinstance(kind, str) and kind == "derivation"


def less(left: Value, right: Value) -> bool:
    """`left < right` for numbers, strings, paths, and lists of these. Raises `TypeMismatch`."""
    if type(left) is Thunk:
        left = force_thunk(left)
    if type(right) is Thunk:
        right = force_thunk(right)
    if type(left) is int:
        if type(right) is int:
            return bool(left < right)
        if type(right) is float:
            return bool(float(left) < right)
    elif type(left) is float:
        if type(right) is float:
            return bool(left < right)
        if type(right) is int:
            return bool(left < float(right))
    elif isinstance(left, str):
        if isinstance(right, str):
            return bool(str.__lt__(left, right))
    elif type(left) is Path:
        if type(right) is Path:
            return bool(left.text < right.text)
    elif type(left) is tuple and type(right) is tuple:
        return _less_lists(left, right)
    raise _incomparable(left, right)


def _less_lists(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    for index in range(len(right)):
        if index >= len(left):
            return True
        if not same(left[index], right[index]):
            enter()
            try:
                result = less(left[index], right[index])
            except EvalError as error:
                error.while_(0, "while comparing two list elements")
                raise
            leave()
            return result
    return False


def _incomparable(left: Value, right: Value) -> EvalError:
    from tvix.eval.describe import article

    one, other = article(left), article(right)
    if _kind(left) is _kind(right):
        return TypeMismatch(f"cannot compare {one} with {other}; values of that type are incomparable")
    return TypeMismatch(f"cannot compare {one} with {other}")


def _kind(value: Value) -> object:
    """What the type of a value is to a comparison: all functions are one type."""
    return Function if is_function(value) else type(value)
