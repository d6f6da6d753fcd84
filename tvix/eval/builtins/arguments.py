"""The arguments of builtins: evaluated, of the right type, or an error whose trace says what the argument was for.

`context` is that text, as C++ Nix has it: "while evaluating the first argument passed to builtins.head".
"""

from __future__ import annotations

from tvix.eval.errors import EvalError
from tvix.eval.values import Path, Thunk, Value, force_thunk, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def list_of(value: Value, context: str) -> tuple[Any, ...]:
    """A list."""
    try:
        if type(value) is Thunk:
            value = force_thunk(value)
        if type(value) is tuple:
            return value
        raise wrong_type("a list", value)
    except EvalError as error:
        error.while_(0, context)
        raise


def set_of(value: Value, context: str) -> dict[str, Any]:
    """An attribute set."""
    try:
        if type(value) is Thunk:
            value = force_thunk(value)
        if type(value) is dict:
            return value
        raise wrong_type("a set", value)
    except EvalError as error:
        error.while_(0, context)
        raise


def integer(value: Value, context: str) -> int:
    """An integer."""
    try:
        if type(value) is Thunk:
            value = force_thunk(value)
        if type(value) is int:
            return value
        raise wrong_type("an integer", value)
    except EvalError as error:
        error.while_(0, context)
        raise


def boolean(value: Value, context: str) -> bool:
    """A boolean."""
    try:
        if type(value) is Thunk:
            value = force_thunk(value)
        if value is True:
            return True
        if value is False:
            return False
        raise wrong_type("a Boolean", value)
    except EvalError as error:
        error.while_(0, context)
        raise


def text(value: Value, context: str) -> str:
    """A string, with its context if it has one."""
    try:
        if type(value) is Thunk:
            value = force_thunk(value)
        if isinstance(value, str):
            return value
        raise wrong_type("a string", value)
    except EvalError as error:
        error.while_(0, context)
        raise


def plain_text(value: Value, context: str) -> str:
    """A string that depends on nothing: one with context is refused."""
    result = text(value, context)
    if type(result) is str:
        return result
    error = EvalError(f"the string '{result}' is not allowed to refer to a store path (such as '{min(result.context)}')")  # type: ignore[attr-defined]
    error.while_(0, context)
    raise error


__all__ = ["Path", "boolean", "integer", "list_of", "plain_text", "set_of", "text"]
