"""What a string depends on, taken apart and put together; the spelling is that of `strings`."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import boolean, coerced, list_of, plain_text, set_of, text
from tvix.eval.contexts import ordered
from tvix.eval.errors import EvalError
from tvix.eval.functions import Primitive
from tvix.eval.printer import name_text
from tvix.eval.strings import context_of, with_context
from tvix.eval.values import UNDEFINED, attribute_position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class GetContext(Primitive):
    """`getContext string`: by store path, whether the string depends on it (`path`), on all its outputs, or on which ones."""

    def call1(self, first: Value) -> Value:
        outputs: dict[str, list[str]] = {}
        result: dict[str, Any] = {}
        for kind, path, output in ordered(context_of(text(first, "while evaluating the argument passed to builtins.getContext"))):
            if path not in result:
                result[path] = {}
            if kind == 0:
                result[path]["path"] = True
            elif kind == 1:
                result[path]["allOutputs"] = True
            else:
                outputs.setdefault(path, []).append(output)
        for path, names in outputs.items():
            result[path]["outputs"] = tuple(names)
        return result


@final
@mypyc_attr(acyclic=True)
class HasContext(Primitive):
    """`hasContext string`."""

    def call1(self, first: Value) -> Value:
        return bool(context_of(text(first, "while evaluating the argument passed to builtins.hasContext")))


@final
@mypyc_attr(acyclic=True)
class AppendContext(Primitive):
    """`appendContext string context`, the context as `getContext` gives it."""

    def call2(self, first: Value, second: Value) -> Value:
        original = text(first, "while evaluating the first argument passed to builtins.appendContext")
        context: set[str] = set()
        context |= context_of(original)
        added = set_of(second, "while evaluating the second argument passed to builtins.appendContext")
        for path, value in added.items():
            _add(context, path, value, attribute_position(added, path))
        return with_context(str(original), context)


def _add(context: set[str], path: str, value: Value, position: int) -> None:
    _check_store_path(path, position)
    parts = set_of(value, "while evaluating the value of a string context", position)
    if _flag(parts, "path"):
        context.add(path)
    if _flag(parts, "allOutputs"):
        _check_derivation(path, "all-outputs", position)
        context.add("=" + path)
    outputs: Value = parts.get("outputs", UNDEFINED)
    if outputs is UNDEFINED:
        return
    at = attribute_position(parts, "outputs")
    names = list_of(outputs, "while evaluating the `outputs` attribute of a string context", at)
    if names:
        _check_derivation(path, "derivation output", position)
    for name in names:
        context.add(f"!{plain_text(name, 'while evaluating an output name within a string context', at)}!{path}")


def _flag(parts: dict[str, Any], name: str) -> bool:
    value: Value = parts.get(name, UNDEFINED)
    if value is UNDEFINED:
        return False
    return boolean(value, f"while evaluating the `{name}` attribute of a string context", attribute_position(parts, name))


def _check_store_path(path: str, position: int) -> None:
    from tvix.nix_compat.store_path import InvalidStorePath, parse_store_path

    try:
        parse_store_path(path)
    except InvalidStorePath:
        raise EvalError(f"context key '{name_text(path)}' is not a store path", position) from None


def _check_derivation(path: str, kind: str, position: int) -> None:
    if not path.endswith(".drv"):
        raise EvalError(f"tried to add {kind} context of {name_text(path)}, which is not a derivation, to a string", position)


@final
@mypyc_attr(acyclic=True)
class UnsafeDiscardStringContext(Primitive):
    """`unsafeDiscardStringContext string`."""

    def call1(self, first: Value) -> Value:
        return str(coerced(first, "while evaluating the argument passed to builtins.unsafeDiscardStringContext"))


@final
@mypyc_attr(acyclic=True)
class UnsafeDiscardOutputDependency(Primitive):
    """`unsafeDiscardOutputDependency string`: of a derivation with all outputs only its file remains."""

    def call1(self, first: Value) -> Value:
        original = coerced(first, "while evaluating the argument passed to builtins.unsafeDiscardOutputDependency")
        return with_context(str(original), {element.removeprefix("=") for element in context_of(original)})


@final
@mypyc_attr(acyclic=True)
class AddDrvOutputDependencies(Primitive):
    """`addDrvOutputDependencies string`: the opposite, for a string with exactly one element of context."""

    def call1(self, first: Value) -> Value:
        original = coerced(first, "while evaluating the argument passed to builtins.addDrvOutputDependencies")
        elements = ordered(context_of(original))
        if len(elements) != 1:
            raise EvalError(f"context of string '{original}' must have exactly one element, but has {len(elements)}")
        kind, path, output = elements[0]
        if kind == 2:
            such = f"'{output}'"
            raise EvalError(f"`addDrvOutputDependencies` can only act on derivations, not on a derivation output such as {such}")
        if not path.endswith(".drv"):
            raise EvalError(f"path '{path}' is not a derivation")
        return with_context(str(original), {"=" + path})


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return [
        GetContext("getContext", 1),
        HasContext("hasContext", 1),
        AppendContext("appendContext", 2),
        UnsafeDiscardStringContext("unsafeDiscardStringContext", 1),
        UnsafeDiscardOutputDependency("unsafeDiscardOutputDependency", 1),
        AddDrvOutputDependencies("addDrvOutputDependencies", 1),
    ]
