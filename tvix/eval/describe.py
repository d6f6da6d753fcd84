"""Values in error messages: what kind they are, and a short form of what they hold."""

from __future__ import annotations

from tvix.eval.functions import BuiltinFunction
from tvix.eval.strings import ContextString
from tvix.eval.values import Path, Thunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.values import Value


def describe(value: Value) -> str:
    """As in `expected a set but found a string: "x"`."""
    return f"{article(value)}: {describe_value(value)}"


def article(value: Value) -> str:
    """The kind of a value with its article."""
    if type(value) is BuiltinFunction:
        name = value.primitive.name
        return f"the partially applied built-in function '{name}'" if value.given else f"the built-in function '{name}'"
    return _ARTICLES.get(type(value), "a function")


_ARTICLES: dict[object, str] = {
    type(None): "null",
    bool: "a Boolean",
    int: "an integer",
    float: "a float",
    str: "a string",
    ContextString: "a string",
    Path: "a path",
    tuple: "a list",
    dict: "a set",
    Thunk: "a thunk",
}


def describe_value(value: Value) -> str:
    """The value as C++ Nix prints it inside an error: nothing is evaluated for it, and large ones are cut off."""
    from tvix.eval.printing import print_for_error

    return print_for_error(value)
