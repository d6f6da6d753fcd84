"""Builtins that the host program adds to the language, or puts in the place of its own.

A function of Python becomes a builtin of as many arguments as it has positional parameters, one to three. Arguments are evaluated
and decoded by the annotations of the parameters, anything but a function where there is none; what comes back may be whatever
`dump` can write. A `ValueError` of the function is an error of the program that called it, with its trace; other exceptions come
out of `load` as they are. Anything that isn't callable is a constant. Added as `greet`, a builtin is `builtins.greet`, and
`__greet` everywhere; `derivation` and others that need no `builtins.` need none here either.
"""

from __future__ import annotations

import inspect
import typing

from tvix.errors import TvixError
from tvix.eval.builtins.host import HostFunction
from tvix.eval.errors import EvalError, TypeMismatch
from tvix.serde.decoding import Decoding
from tvix.serde.errors import NotDumpable, UnsupportedSchema
from tvix.serde.places import Place
from tvix.serde.text import to_nix
from tvix.serde.types import shape_of

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tvix.eval.builtins.registry import Registry
    from tvix.eval.values import Value
    from tvix.serde.shapes.interface import Shape

_MOST_ARGUMENTS = 3
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def add(registry: Registry, builtins: Mapping[str, object]) -> None:
    """Add builtins by name. Raises `UnsupportedSchema` for a function that can't be one."""
    anything = shape_of(object)
    for name, value in builtins.items():
        if callable(value):
            registry.add([_primitive(name, value)])
        else:
            registry.add_constant(to_nix(name), anything.encode(value, name))


def _primitive(name: str, function: Callable[..., object]) -> HostFunction:
    shapes = _parameters(name, function)
    result = shape_of(object)

    def call(*slots: Value) -> Value:
        arguments = [_argument(shape, slot, name, index) for index, (shape, slot) in enumerate(zip(shapes, slots, strict=True))]
        try:
            return result.encode(function(*arguments), f"what {name} returns")
        except EvalError:
            raise
        except (ValueError, NotDumpable) as error:
            raise EvalError(to_nix(str(error))) from error
        except TvixError as error:
            raise EvalError(to_nix(f"{name}: {error}")) from error

    return HostFunction(to_nix(name), len(shapes), call)


def _parameters(name: str, function: Callable[..., object]) -> list[Shape]:
    """The shapes of the arguments."""
    try:
        parameters = [parameter for parameter in inspect.signature(function).parameters.values() if parameter.kind in _POSITIONAL]
        hints = typing.get_type_hints(function, include_extras=True) if inspect.isroutine(function) else {}
    except (TypeError, ValueError, NameError) as error:
        raise UnsupportedSchema(where=f"builtin {name}", reason=str(error)) from None
    if not 1 <= len(parameters) <= _MOST_ARGUMENTS:
        raise UnsupportedSchema(where=f"builtin {name}", reason=f"it has {len(parameters)} positional parameters, not one to three")
    return [shape_of(hints.get(parameter.name, object), f"builtin {name}, {parameter.name}") for parameter in parameters]


def _argument(shape: Shape, slot: Value, name: str, index: int) -> object:
    """An argument; the first of its mistakes is the error."""
    decoding = Decoding()
    value = decoding.decode(shape, slot, Place(None, None, 0))
    if decoding.found:
        found = decoding.found[0]
        where = f" at {found.problem.path}" if found.problem.path else ""
        error = TypeMismatch(to_nix(found.problem.message + where), found.place.position)
        error.while_(0, f"while decoding the {_ORDINALS[index]} argument passed to builtins.{to_nix(name)}")
        raise error
    return value


_ORDINALS = ("first", "second", "third")
