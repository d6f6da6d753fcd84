"""Attribute sets. What keeps attributes keeps what holds them too, so that they stay where they were defined."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import attribute, list_of, plain_text, set_of
from tvix.eval.errors import EvalError, TypeMismatch
from tvix.eval.functions import FormalsClosure, FormalsLambda, Primitive, call2, callable_value, called_when_needed, is_function
from tvix.eval.values import UNDEFINED, Node, Thunk, attribute_position, force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.annotations import i64
    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class AttrNames(Primitive):
    """`attrNames set`, in the order of their bytes."""

    def call1(self, first: Value) -> Value:
        return tuple(sorted(set_of(first, "while evaluating the argument passed to builtins.attrNames")))


@final
@mypyc_attr(acyclic=True)
class AttrValues(Primitive):
    """`attrValues set`, in the order of the names."""

    def call1(self, first: Value) -> Value:
        attributes = set_of(first, "while evaluating the argument passed to builtins.attrValues")
        return tuple([attributes[name] for name in sorted(attributes)])


@final
@mypyc_attr(acyclic=True)
class CatAttrs(Primitive):
    """`catAttrs name sets`: the attribute of each set that has it."""

    def call2(self, first: Value, second: Value) -> Value:
        name = plain_text(first, "while evaluating the first argument passed to builtins.catAttrs")
        found: list[Any] = []
        for item in list_of(second, "while evaluating the second argument passed to builtins.catAttrs"):
            attributes = set_of(item, "while evaluating an element in the list passed as second argument to builtins.catAttrs")
            value: Value = attributes.get(name, UNDEFINED)
            if value is not UNDEFINED:
                found.append(value)
        return tuple(found)


@final
@mypyc_attr(acyclic=True)
class _Place(Node):
    """The node of an attribute that stands where something else was written."""

    def __init__(self, position: i64) -> None:
        self.at = position

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class FunctionArgs(Primitive):
    """`functionArgs function`: the names of its set pattern, and whether they have a default."""

    def call1(self, first: Value) -> Value:
        function: Value = force(first)
        if type(function) is FormalsClosure:
            return _described(function.node)
        if is_function(function):
            return {}
        raise TypeMismatch("'functionArgs' requires a function")


def _described(node: FormalsLambda) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    formal = node.first
    while formal is not None:
        arguments[formal.name] = Thunk(_Place(formal.at), None, formal.default is not None)
        formal = formal.after
    return arguments


@final
@mypyc_attr(acyclic=True)
class GetAttr(Primitive):
    """`getAttr name set`."""

    def call2(self, first: Value, second: Value) -> Value:
        name = plain_text(first, "while evaluating the first argument passed to builtins.getAttr")
        attributes = set_of(second, "while evaluating the second argument passed to builtins.getAttr")
        return force(attribute(attributes, name, "in the attribute set under consideration"))


@final
@mypyc_attr(acyclic=True)
class HasAttr(Primitive):
    """`hasAttr name set`."""

    def call2(self, first: Value, second: Value) -> Value:
        name = plain_text(first, "while evaluating the first argument passed to builtins.hasAttr")
        return name in set_of(second, "while evaluating the second argument passed to builtins.hasAttr")


@final
@mypyc_attr(acyclic=True)
class IntersectAttrs(Primitive):
    """`intersectAttrs first second`: of the second what the first has too."""

    def call2(self, first: Value, second: Value) -> Value:
        names = set_of(first, "while evaluating the first argument passed to builtins.intersectAttrs")
        attributes = set_of(second, "while evaluating the second argument passed to builtins.intersectAttrs")
        result: dict[str, Any] = {}
        if len(names) < len(attributes):
            for name in names:
                value: Value = attributes.get(name, UNDEFINED)
                if value is not UNDEFINED:
                    result[name] = value
        else:
            for name, value in attributes.items():
                if name in names:
                    result[name] = value
        return result


@final
@mypyc_attr(acyclic=True)
class _Mapped(Node):
    """An attribute of `mapAttrs`: the thunk carries its name, and the attribute that it is made of."""

    def __init__(self, function: Value) -> None:
        self.function = function

    def run(self, thunk: Thunk) -> Value:
        return call2(self.function, thunk.env, thunk.value)

    def called_at(self, error: EvalError, position: int) -> None:
        if position:  # the function is still put off when C++ Nix says where an attribute of mapAttrs is needed
            called_when_needed(error, self.function, position)


@final
@mypyc_attr(acyclic=True)
class MapAttrs(Primitive):
    """`mapAttrs function set`. Even the function is only evaluated with an attribute."""

    def call2(self, first: Value, second: Value) -> Value:
        attributes = set_of(second, "while evaluating the second argument passed to builtins.mapAttrs")
        node = _Mapped(first)
        return {name: Thunk(node, name, value) for name, value in attributes.items()}


@final
@mypyc_attr(acyclic=True)
class RemoveAttrs(Primitive):
    """`removeAttrs set names`."""

    def call2(self, first: Value, second: Value) -> Value:
        attributes = set_of(first, "while evaluating the first argument passed to builtins.removeAttrs")
        kept = attributes
        for item in list_of(second, "while evaluating the second argument passed to builtins.removeAttrs"):
            name = plain_text(item, "while evaluating the values of the second argument passed to builtins.removeAttrs")
            if name in kept:
                if kept is attributes:
                    kept = attributes.copy()
                del kept[name]
        return kept


@final
@mypyc_attr(acyclic=True)
class UnsafeGetAttrPos(Primitive):
    """`unsafeGetAttrPos name set`: where the attribute is defined, if that is known."""

    def __init__(self, name: str, arity: i64, evaluator: Evaluator) -> None:
        super().__init__(name, arity)
        self.evaluator: Any = evaluator

    def call2(self, first: Value, second: Value) -> Value:
        name = plain_text(first, "while evaluating the first argument passed to builtins.unsafeGetAttrPos")
        attributes = set_of(second, "while evaluating the second argument passed to builtins.unsafeGetAttrPos")
        return self.evaluator.position_value(attribute_position(attributes, name))


@final
@mypyc_attr(acyclic=True)
class _Zipped(Node):
    """An attribute of `zipAttrsWith`: the thunk carries its name and the list of values."""

    def __init__(self, function: Value) -> None:
        self.function = function

    def run(self, thunk: Thunk) -> Value:
        return call2(self.function, thunk.env, thunk.value)

    def called_at(self, error: EvalError, position: int) -> None:
        called_when_needed(error, self.function, position)


@final
@mypyc_attr(acyclic=True)
class ZipAttrsWith(Primitive):
    """`zipAttrsWith function sets`."""

    def call2(self, first: Value, second: Value) -> Value:
        function: Value = callable_value(first, "while evaluating the first argument passed to builtins.zipAttrsWith")
        found: dict[str, list[Any]] = {}
        for item in list_of(second, "while evaluating the second argument passed to builtins.zipAttrsWith"):
            attributes = set_of(item, "while evaluating a value of the list passed as second argument to builtins.zipAttrsWith")
            for name, value in attributes.items():
                values = found.get(name)
                if values is None:
                    found[name] = [value]
                else:
                    values.append(value)
        node = _Zipped(function)
        return {name: Thunk(node, name, tuple(values)) for name, values in found.items()}


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return [
        AttrNames("attrNames", 1),
        AttrValues("attrValues", 1),
        CatAttrs("catAttrs", 2),
        FunctionArgs("functionArgs", 1),
        GetAttr("getAttr", 2),
        HasAttr("hasAttr", 2),
        IntersectAttrs("intersectAttrs", 2),
        MapAttrs("mapAttrs", 2),
        RemoveAttrs("removeAttrs", 2),
        UnsafeGetAttrPos("unsafeGetAttrPos", 2, evaluator),
        ZipAttrsWith("zipAttrsWith", 2),
    ]
