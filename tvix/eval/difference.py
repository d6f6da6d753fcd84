"""What makes two values differ: the error of `assert a == b`."""

from __future__ import annotations

from tvix.eval.attribute_order import in_order
from tvix.eval.comparison import equal, in_same_place, is_derivation
from tvix.eval.describe import article, describe_value
from tvix.eval.errors import AssertionFailed
from tvix.eval.functions import is_function
from tvix.eval.values import UNDEFINED, Path, attribute_position, enter, force, leave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.values import Value


def explain_difference(left: Value, right: Value) -> None:
    """Raise `AssertionFailed` for the first difference, with a frame for every list and set that it is in."""
    _explain(left, right, inside=False)


def _explain(left: Value, right: Value, *, inside: bool) -> None:
    one: Value = force(left)
    other: Value = force(right)
    if inside and in_same_place(left, right):
        return
    left, right = one, other
    numbers = _is_number(left) and _is_number(right)
    if numbers and equal(left, right):
        return
    if numbers or _kind(left) is not _kind(right):
        word = "with" if numbers else "of"
        raise AssertionFailed(f"{_quoted(left, word)} is not equal to {_quoted(right, word)}")
    if type(left) is tuple:
        _explain_lists(left, right)
    elif type(left) is dict:
        _explain_sets(left, right)
    elif is_function(left):
        raise AssertionFailed("distinct functions and immediate comparisons of identical functions compare as unequal")
    elif not equal(left, right):
        name = "boolean" if type(left) is bool else "path" if type(left) is Path else "string"
        raise AssertionFailed(f"{name} '{describe_value(left)}' is not equal to {name} '{describe_value(right)}'")


def _explain_lists(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    if len(left) != len(right):
        raise AssertionFailed(
            f"list of size '{len(left)}' is not equal to list of size '{len(right)}', left hand side is '{describe_value(left)}', "
            f"right hand side is '{describe_value(right)}'"
        )
    enter()
    for index in range(len(left)):
        try:
            _explain(left[index], right[index], inside=True)
        except AssertionFailed as error:
            error.while_(0, f"while comparing list element {index}")
            raise
    leave()


def _explain_sets(left: dict[str, Any], right: dict[str, Any]) -> None:
    if "type" in left and "type" in right and is_derivation(left) and is_derivation(right):
        one: Value = left.get("outPath", UNDEFINED)
        other: Value = right.get("outPath", UNDEFINED)
        if one is not UNDEFINED and other is not UNDEFINED:
            try:
                _explain(one, other, inside=True)
            except AssertionFailed as error:
                error.while_(0, "while comparing a derivation by its 'outPath' attribute")
                raise
            return
    if len(left) != len(right):
        raise AssertionFailed(
            f"attribute names of attribute set '{describe_value(left)}' differs from attribute set '{describe_value(right)}'"
        )
    enter()
    for name in in_order(left):
        if name not in right:
            raise AssertionFailed(
                f"attribute name '{name}' is contained in '{describe_value(left)}', but not in '{describe_value(right)}'"
            )
        try:
            _explain(left[name], right[name], inside=True)
        except AssertionFailed as error:
            error.while_(attribute_position(right, name), "where right hand side is")
            error.while_(attribute_position(left, name), "where left hand side is")
            error.while_(0, f"while comparing attribute '{name}'")
            raise
    leave()


def _quoted(value: Value, word: str) -> str:
    return f"{article(value)} {word} value '{describe_value(value)}'"


def _is_number(value: Value) -> bool:
    return type(value) is int or type(value) is float


def _kind(value: Value) -> object:
    """One object for each type of the language."""
    return str if isinstance(value, str) else None if is_function(value) else type(value)
