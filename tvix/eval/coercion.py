"""Turning values into strings: interpolation, `toString`, and what builtins do with an argument that has to be a string.

`more` says whether numbers, booleans, null and lists are taken too, as `toString` takes them; `copy` whether a path stands for its
copy in the store (`"${./x}"`) or for itself. What a string depends on is added to `context`. `purpose` says in the trace what the
string is for; it is said, as in C++ Nix, of what can't be made a string and of elements of lists, not of what fails to evaluate.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.errors import EvalError, TypeMismatch
from tvix.eval.functions import call, called
from tvix.eval.strings import ContextString
from tvix.eval.values import UNDEFINED, Path, Thunk, enter, force, force_thunk, leave, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from tvix.eval.values import Value


@final
class Places:
    """What the running evaluation's paths stand for; its evaluator fills it in."""

    def __init__(self) -> None:
        self.copy_path: Callable[[str], str] | None = None
        """The store path of a path's copy, whose context is that store path."""


PLACES: Final = Places()


def to_text(value: Value, context: set[str] | None, more: bool, copy: bool, purpose: str = "", position: int = 0) -> str:
    """The characters. Raises `TypeMismatch`, and what evaluation raises. With None for `context`, it is lost."""
    if type(value) is Thunk:
        value = force_thunk(value)
    if type(value) is str:
        return value
    if type(value) is ContextString:
        if context is not None:
            context |= value.context
        return str(value)
    if type(value) is Path:
        return copied(value, context) if copy else value.text
    if type(value) is dict:
        enter()
        text = _set_text(value, context, more, copy, purpose, position)
        leave()
        return text
    if more:
        if value is True:
            return "1"
        if value is False or value is None:
            return ""
        if type(value) is int:
            return str(value)
        if type(value) is float:
            return f"{value:f}"
        if type(value) is tuple:
            enter()
            text = _list_text(value, context, copy, purpose, position)
            leave()
            return text
    raise not_coercible(value, purpose, position)


def _set_text(attributes: dict[str, Any], context: set[str] | None, more: bool, copy: bool, purpose: str, position: int) -> str:
    convert: Value = attributes.get("__toString", UNDEFINED)
    if convert is not UNDEFINED:
        try:
            result: Value = call(convert, attributes)
        except EvalError as error:
            called(error, position)
            raise
        return to_text(result, context, more, copy, "while evaluating the result of the `__toString` attribute", position)
    path: Value = attributes.get("outPath", UNDEFINED)
    if path is UNDEFINED:
        raise not_coercible(attributes, purpose, position)
    return to_text(path, context, more, copy, purpose, position)


def _list_text(items: tuple[Any, ...], context: set[str] | None, copy: bool, purpose: str, position: int) -> str:
    """Joined by spaces; an empty list inside leaves nothing, not even its space."""
    parts: list[str] = []
    last = len(items) - 1
    for index, item in enumerate(items):
        try:
            value: Value = force(item)
            parts.append(to_text(value, context, True, copy, "while evaluating one element of the list"))
        except EvalError as error:
            if purpose:
                error.while_(position, purpose)
            raise
        if index < last and not (type(value) is tuple and not value):
            parts.append(" ")
    return "".join(parts)


def copied(path: Path, context: set[str] | None) -> str:
    """The store path of a path's copy."""
    copy = PLACES.copy_path
    if copy is None:
        raise EvalError(f"cannot copy '{path.text}': this evaluation has no store")
    place: str = copy(path.text)
    if context is not None:
        context.add(place)
    return place


def not_coercible(value: Value, purpose: str, position: int) -> EvalError:
    """No string can be made of this."""
    from tvix.eval.describe import article, describe_value

    error = TypeMismatch(f"cannot coerce {article(value)} to a string: {describe_value(value)}")
    if purpose:
        error.while_(position, purpose)
    return error


def string(value: Value, context: str) -> str:
    """A string as it is, with its context. Raises `TypeMismatch`; every error says in `context` what it was for."""
    try:
        if type(value) is Thunk:
            value = force_thunk(value)
        if isinstance(value, str):
            return value
        raise wrong_type("a string", value)
    except EvalError as error:
        error.while_(0, context)
        raise
