"""Selecting inside a value from outside the language: what `-A` names, and functions called with what `--arg` gives."""

from __future__ import annotations

from tvix.eval.describe import article
from tvix.eval.errors import EvalError, MissingArgument, MissingAttribute, TypeMismatch
from tvix.eval.functions import FormalsClosure, call
from tvix.eval.nearest import nearest
from tvix.eval.values import UNDEFINED, force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from tvix.eval.values import Value

_MAX_INDEX: Final = (1 << 32) - 1


def split_path(path: str) -> list[str]:
    """The names of `a.b."c.d".0`. Raises `EvalError` where a quote isn't closed."""
    names: list[str] = []
    name = ""
    index = 0
    while index < len(path):
        character = path[index]
        if character == ".":
            names.append(name)
            name = ""
        elif character == '"':
            end = path.find('"', index + 1)
            if end < 0:
                raise EvalError(f"missing closing quote in selection path '{path}'")
            name += path[index + 1 : end]
            index = end
        else:
            name += character
        index += 1
    return [*names, name] if name else names


def select(value: Value, path: str, arguments: Mapping[str, Value]) -> Value:
    """What is at a path; functions on the way are called with what they ask for. Raises what evaluation raises."""
    for name in split_path(path):
        value = call_automatically(value, arguments)
        is_index = name.isascii() and name.isdigit() and int(name) <= _MAX_INDEX
        if is_index and type(value) is tuple:
            value = _item(value, int(name), path)
        elif not is_index and type(value) is dict:
            value = _attribute(value, name, path)
        else:
            wanted = "a list" if is_index else "a set"
            raise TypeMismatch(f"the expression selected by the selection path '{path}' should be {wanted} but is {article(value)}")
    return force(value)


def _item(items: tuple[Any, ...], index: int, path: str) -> Value:
    if index >= len(items):
        raise MissingAttribute(f"list index {index} in selection path '{path}' is out of range")
    return items[index]


def _attribute(attributes: dict[str, Any], name: str, path: str) -> Value:
    if not name:
        raise EvalError(f"empty attribute name in selection path '{path}'")
    value: Value = attributes.get(name, UNDEFINED)
    if value is UNDEFINED:
        text = f"attribute '{name}' in selection path '{path}' not found"
        raise MissingAttribute(text, 0, nearest(name, list(attributes)))
    return value


def call_automatically(value: Value, arguments: Mapping[str, Value]) -> Value:
    """A function with a set pattern is called with those arguments that it names, or all if it ends in `...`; what else there is
    stays as it is. Raises `MissingArgument`.
    """
    value = force(value)
    while type(value) is dict:
        functor: Value = value.get("__functor", UNDEFINED)
        if functor is UNDEFINED:
            return value
        value = force(call(functor, value))
    if type(value) is not FormalsClosure:
        return value
    given: dict[str, Any] = dict(arguments) if value.node.ellipsis else {}
    formal = value.node.first
    while formal is not None:
        if formal.name in arguments:
            given[formal.name] = arguments[formal.name]
        elif formal.default is None and not value.node.ellipsis:
            raise MissingArgument(_NO_ARGUMENT.format(name=formal.name), int(formal.at))
        formal = formal.after
    return call(value, given)


_NO_ARGUMENT: Final = """\
cannot evaluate a function that has an argument without a value ('{name}')
Nix attempted to evaluate a function as a top level expression; in
this case it must have its arguments supplied either by default
values, or passed explicitly with '--arg' or '--argstr'. See
https://nixos.org/manual/nix/stable/language/constructs.html#functions."""
