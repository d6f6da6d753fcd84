"""What a value is, what it is as a string, and the constants of the language."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.coercion import to_text
from tvix.eval.functions import Primitive, is_function
from tvix.eval.strings import ContextString, with_context
from tvix.eval.values import Path, force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value

NIX_VERSION: Final = "2.26.3"
"""Of the C++ Nix whose language this is: what programs decide by."""
LANGUAGE_VERSION: Final = 6

_TYPES: Final[dict[str, str]] = {
    "isAttrs": "set",
    "isBool": "bool",
    "isFloat": "float",
    "isFunction": "lambda",
    "isInt": "int",
    "isList": "list",
    "isNull": "null",
    "isPath": "path",
    "isString": "string",
}


def type_name(value: Value) -> str:
    """The type of an evaluated value, as `typeOf` says it."""
    if type(value) is dict:
        return "set"
    if type(value) is str or type(value) is ContextString:
        return "string"
    if type(value) is tuple:
        return "list"
    if value is None:
        return "null"
    if type(value) is bool:
        return "bool"
    if type(value) is int:
        return "int"
    if type(value) is float:
        return "float"
    if type(value) is Path:
        return "path"
    return "lambda" if is_function(value) else "external"


@final
@mypyc_attr(acyclic=True)
class IsOfType(Primitive):
    """`isAttrs value` and its kin."""

    def __init__(self, name: str, wanted: str) -> None:
        super().__init__(name, 1)
        self.wanted = wanted

    def call1(self, first: Value) -> Value:
        return type_name(force(first)) == self.wanted


@final
@mypyc_attr(acyclic=True)
class TypeOf(Primitive):
    """`typeOf value`."""

    def call1(self, first: Value) -> Value:
        return type_name(force(first))


@final
@mypyc_attr(acyclic=True)
class ToString(Primitive):
    """`toString value`."""

    def call1(self, first: Value) -> Value:
        value: Value = force(first)
        if type(value) is str or type(value) is ContextString:
            return value
        if type(value) is int:
            return str(value)
        context: set[str] = set()
        text = to_text(value, context, True, False, "while evaluating the first argument passed to builtins.toString")
        return with_context(text, context)


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    result: list[Primitive] = [IsOfType(name, wanted) for name, wanted in _TYPES.items()]
    result.append(TypeOf("typeOf", 1))
    result.append(ToString("toString", 1))
    return result


def constants(evaluator: Evaluator) -> list[tuple[str, object]]:
    """What of this theme is no function. What depends on the machine isn't there where evaluation has to be pure."""
    result: list[tuple[str, object]] = [
        ("langVersion", LANGUAGE_VERSION),
        ("nixVersion", NIX_VERSION),
        ("storeDir", evaluator.settings.store_dir),
    ]
    if not evaluator.settings.pure:
        result.append(("currentSystem", evaluator.settings.system))
    return result
