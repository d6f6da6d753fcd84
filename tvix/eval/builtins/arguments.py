"""The arguments of builtins: evaluated, of the right type, or an error whose trace says what the argument was for.

`purpose` is that text, as C++ Nix has it: "while evaluating the first argument passed to builtins.head". Lists and sets say it only
where the type is wrong, the others also where the evaluation fails.
"""

from __future__ import annotations

from tvix.eval.coercion import to_text
from tvix.eval.errors import EvalError, MissingAttribute
from tvix.eval.functions import call
from tvix.eval.strings import ContextString, with_context
from tvix.eval.values import UNDEFINED, Thunk, force_thunk, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.values import Value


def list_of(value: Value, purpose: str, position: int = 0) -> tuple[Any, ...]:
    """A list."""
    if type(value) is Thunk:
        value = force_thunk(value)
    if type(value) is tuple:
        return value
    error = wrong_type("a list", value)
    error.while_(position, purpose)
    raise error


def set_of(value: Value, purpose: str, position: int = 0) -> dict[str, Any]:
    """An attribute set."""
    if type(value) is Thunk:
        value = force_thunk(value)
    if type(value) is dict:
        return value
    error = wrong_type("a set", value)
    error.while_(position, purpose)
    raise error


def integer(value: Value, purpose: str) -> int:
    """An integer."""
    value = _evaluated(value, purpose, 0)
    if type(value) is int:
        return value
    error = wrong_type("an integer", value)
    error.while_(0, purpose)
    raise error


def floating(value: Value, purpose: str) -> float:
    """A float; an integer is taken for one."""
    value = _evaluated(value, purpose, 0)
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    error = wrong_type("a float", value)
    error.while_(0, purpose)
    raise error


def boolean(value: Value, purpose: str, position: int = 0) -> bool:
    """A boolean. `position` is where it was bound, if it is an attribute."""
    value = _evaluated(value, purpose, position)
    if value is True:
        return True
    if value is False:
        return False
    error = wrong_type("a Boolean", value).at(position)
    error.while_(position, purpose)
    raise error


def text(value: Value, purpose: str, position: int = 0) -> str:
    """A string, with its context if it has one. `position` is where it was bound, if it is an attribute."""
    value = _evaluated(value, purpose, position)
    if isinstance(value, str):
        return value
    error = wrong_type("a string", value).at(position)
    error.while_(position, purpose)
    raise error


def plain_text(value: Value, purpose: str, position: int = 0) -> str:
    """A string that depends on nothing: one with context is refused."""
    result: Value = text(value, purpose, position)
    if type(result) is str:
        return result
    from tvix.eval.contexts import first_element

    such = first_element(result.context)
    error = EvalError(f"the string '{result}' is not allowed to refer to a store path (such as '{such}')")
    error.while_(position, purpose)
    raise error


def coerced(value: Value, purpose: str) -> str:
    """What can stand for a string in interpolation, as a string with its context; a path is copied to the store."""
    if type(value) is Thunk:
        value = force_thunk(value)
    if type(value) is str or type(value) is ContextString:
        return value
    context: set[str] = set()
    return with_context(to_text(value, context, False, True, purpose), context)


def attribute(attributes: dict[str, Any], name: str, purpose: str) -> Value:
    """An attribute that has to be there, as it is in the set. Raises `MissingAttribute`."""
    value: Value = attributes.get(name, UNDEFINED)
    if value is not UNDEFINED:
        return value
    from tvix.eval.printer import name_text

    error = MissingAttribute(f"attribute '{name_text(name)}' missing")
    error.while_(0, purpose)
    raise error


def holds(predicate: Value, item: Value, purpose: str) -> bool:
    """Whether a function says true of a value; `purpose` is what its answer is for."""
    result: Value = call(predicate, item)
    if result is True:
        return True
    if result is False:
        return False
    error = wrong_type("a Boolean", result)
    error.while_(0, purpose)
    raise error


def _evaluated(value: Value, purpose: str, position: int) -> Value:
    if type(value) is not Thunk:
        return value
    try:
        return force_thunk(value)
    except EvalError as error:
        error.while_(position, purpose)
        raise
