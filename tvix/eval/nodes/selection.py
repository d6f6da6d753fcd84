"""Selecting attributes: `x.a`, `x.${a}`, `x.a or d`, `x ? a`."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import plain_text
from tvix.eval.errors import EvalError, MissingAttribute
from tvix.eval.nodes.variables import Constant, Nodes
from tvix.eval.values import UNDEFINED, Env, Node, Thunk, attribute_position, force_thunk, known, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class Select(Node):
    """`set.name`."""

    def __init__(self, set_: Node, name: str, position: i64) -> None:
        self.set = set_
        self.name = name
        self.at = position

    def evaluate(self, env: Env) -> Value:
        scope: Value = self.set.evaluate(env)
        if type(scope) is not dict:
            raise not_a_set(scope, int(self.at))
        attributes: dict[str, Any] = scope
        value: Value = attributes.get(self.name, UNDEFINED)
        if type(value) is Thunk:
            if value.env is None:
                return value.value
            try:
                return force_thunk(value)
            except EvalError as error:
                value.node.called_at(error, int(self.at))
                while_evaluating(error, attributes, self.name)
                raise
        if value is UNDEFINED:
            raise missing(attributes, self.name, int(self.at))
        return value

    def delay(self, env: Env) -> Value:
        scope: Value = self.set.peek(env)
        if type(scope) is dict:
            attributes: dict[str, Any] = scope
            value: Value = attributes.get(self.name, UNDEFINED)
            if value is not UNDEFINED:
                return value
        return Thunk(self, env, None)

    def peek(self, env: Env) -> Value:
        scope: Value = self.set.peek(env)
        if type(scope) is dict:
            attributes: dict[str, Any] = scope
            return known(attributes.get(self.name, UNDEFINED))
        return UNDEFINED

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class SelectDynamic(Node):
    """`set.${name}`."""

    def __init__(self, set_: Node, name: Node, position: i64) -> None:
        self.set = set_
        self.name = name
        self.at = position

    def evaluate(self, env: Env) -> Value:
        scope: Value = self.set.evaluate(env)
        name = attribute_name(self.name.evaluate(env), self.name.position())
        if type(scope) is not dict:
            raise not_a_set(scope, int(self.at))
        attributes: dict[str, Any] = scope
        value: Value = attributes.get(name, UNDEFINED)
        if type(value) is Thunk:
            try:
                return force_thunk(value)
            except EvalError as error:
                value.node.called_at(error, int(self.at))
                while_evaluating(error, attributes, name)
                raise
        if value is UNDEFINED:
            raise missing(attributes, name, int(self.at))
        return value

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class SelectOr(Node):
    """`set.name or default`."""

    def __init__(self, set_: Node, name: str, default: Node, position: i64) -> None:
        self.set = set_
        self.name = name
        self.default = default
        self.at = position

    def evaluate(self, env: Env) -> Value:
        scope: Value = self.set.evaluate(env)
        if type(scope) is dict:
            attributes: dict[str, Any] = scope
            value: Value = attributes.get(self.name, UNDEFINED)
            if type(value) is Thunk:
                try:
                    return force_thunk(value)
                except EvalError as error:
                    value.node.called_at(error, int(self.at))
                    while_evaluating(error, attributes, self.name)
                    raise
            if value is not UNDEFINED:
                return value
        return self.default.evaluate(env)

    def delay(self, env: Env) -> Value:
        scope: Value = self.set.peek(env)
        if scope is UNDEFINED:
            return Thunk(self, env, None)
        if type(scope) is dict:
            attributes: dict[str, Any] = scope
            value: Value = attributes.get(self.name, UNDEFINED)
            if value is not UNDEFINED:
                return value
        return self.default.delay(env)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class SelectPathOr(Node):
    """`set.a.${b}.c or default`: anything on the way that is missing, or no set, gives the default."""

    def __init__(self, set_: Node, path: Nodes | None, default: Node, position: i64) -> None:
        self.set = set_
        self.path = path
        self.default = default
        self.at = position

    def evaluate(self, env: Env) -> Value:
        value: Value = self.set.evaluate(env)
        entry = self.path
        while entry is not None:
            if type(value) is Thunk:
                value = force_thunk(value)
            name = attribute_name(entry.node.evaluate(env), entry.node.position())
            if type(value) is not dict:
                return self.default.evaluate(env)
            attributes: dict[str, Any] = value
            value = attributes.get(name, UNDEFINED)
            if value is UNDEFINED:
                return self.default.evaluate(env)
            entry = entry.after
        if type(value) is Thunk:
            return force_thunk(value)
        return value

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Has(Node):
    """`set ? name`."""

    def __init__(self, set_: Node, name: str) -> None:
        self.set = set_
        self.name = name

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        scope: Value = self.set.evaluate(env)
        if type(scope) is not dict:
            return False
        attributes: dict[str, Any] = scope
        return self.name in attributes


@final
@mypyc_attr(acyclic=True)
class HasPath(Node):
    """`set ? a.${b}.c`."""

    def __init__(self, set_: Node, path: Nodes | None, position: i64) -> None:
        self.set = set_
        self.path = path
        self.at = position

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        value: Value = self.set.evaluate(env)
        entry = self.path
        while entry is not None:
            if type(value) is Thunk:
                value = force_thunk(value)
            name = attribute_name(entry.node.evaluate(env), entry.node.position())
            if type(value) is not dict:
                return False
            attributes: dict[str, Any] = value
            value = attributes.get(name, UNDEFINED)
            if value is UNDEFINED:
                return False
            entry = entry.after
        return True

    def position(self) -> int:
        return int(self.at)


def attribute_name(value: Value, position: int) -> str:
    """A computed name, whose expression is at `position`. Raises `TypeMismatch`, and `EvalError` for one with context."""
    if type(value) is str:
        return value
    return plain_text(value, "while evaluating an attribute name", position)


def path_names(path: Nodes | None) -> list[str]:
    """The fixed names of a path; what is computed shows as `"${...}"`."""
    names: list[str] = []
    while path is not None:
        node = path.node
        names.append(node.value if type(node) is Constant else '"${...}"')
        path = path.after
    return names


def not_a_set(value: Value, position: int) -> EvalError:
    """Something else was to have attributes."""
    error = wrong_type("a set", value).at(position)
    error.while_(position, "while selecting an attribute")
    return error


def missing(attributes: dict[str, Value], name: str, position: int) -> EvalError:
    """A set doesn't have the attribute; the error names the nearest that it has."""
    from tvix.eval.nearest import nearest

    return MissingAttribute(f"attribute '{name}' missing", position, nearest(name, attributes))


def while_evaluating(error: EvalError, attributes: dict[str, Value], name: str) -> None:
    """Have the error of an attribute's value say where that is defined."""
    position = attribute_position(attributes, name)
    if position:
        error.while_(position, f"while evaluating the attribute '{name}'")
