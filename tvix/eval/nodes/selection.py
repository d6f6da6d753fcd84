"""Selecting attributes: `x.a`, `x.${a}`, `x.a or d`, `x ? a`."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import plain_text
from tvix.eval.errors import EvalError, MissingAttribute
from tvix.eval.values import MACHINE, UNDEFINED, Env, Node, Thunk, force_thunk, known, needed_at, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class Name:
    """One name of an attribute path, which is `text` or computed by `node`, and the next."""

    def __init__(self, text: str, node: Node | None, after: Name | None) -> None:
        self.text = text
        self.node = node
        self.after = after


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
                in_attribute(error, value, self.name, int(self.at))
                raise
        if value is UNDEFINED:
            raise missing(attributes, self.name, int(self.at))
        return value

    def delay(self, env: Env) -> Value:
        value: Value = self.peek(env)
        return Thunk(self, env, None) if value is UNDEFINED else value

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
class SelectPath(Node):
    """`set.a.${b}.c`, two names or more, or one that is computed."""

    def __init__(self, set_: Node, names: Name | None, position: i64) -> None:
        self.set = set_
        self.names = names
        self.at = position

    def evaluate(self, env: Env) -> Value:
        scope: Value = self.set.evaluate(env)
        value: Value = scope
        entry = self.names
        try:
            while entry is not None:
                node = entry.node
                name = entry.text if node is None else attribute_name(node.evaluate(env), node.position())
                if type(value) is Thunk:
                    value = force_thunk(value)
                if type(value) is not dict:
                    raise not_a_set(value, int(self.at))
                attributes: dict[str, Any] = value
                value = attributes.get(name, UNDEFINED)
                if value is UNDEFINED:
                    raise missing(attributes, name, int(self.at))
                entry = entry.after
            return force_thunk(value) if type(value) is Thunk else value
        except EvalError as error:
            in_path(error, scope, self.names, env, int(self.at))
            raise

    def delay(self, env: Env) -> Value:
        value: Value = self.peek(env)
        return Thunk(self, env, None) if value is UNDEFINED else value

    def peek(self, env: Env) -> Value:
        value: Value = self.set.peek(env)
        entry = self.names
        while entry is not None:
            if type(value) is not dict or entry.node is not None:
                return UNDEFINED
            attributes: dict[str, Any] = value
            value = known(attributes.get(entry.text, UNDEFINED))
            entry = entry.after
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
                    in_attribute(error, value, self.name, int(self.at))
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
                value = known(value)
                return Thunk(self, env, None) if value is UNDEFINED else value
        value = self.default.peek(env)  # not delayed: it may be a variable that isn't there yet
        return Thunk(self, env, None) if value is UNDEFINED else value

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class SelectPathOr(Node):
    """`set.a.${b}.c or default`: anything on the way that is missing, or no set, gives the default."""

    def __init__(self, set_: Node, names: Name | None, default: Node, position: i64) -> None:
        self.set = set_
        self.names = names
        self.default = default
        self.at = position

    def evaluate(self, env: Env) -> Value:
        scope: Value = self.set.evaluate(env)
        value: Value = scope
        entry = self.names
        try:
            while entry is not None:
                node = entry.node
                name = entry.text if node is None else attribute_name(node.evaluate(env), node.position())
                if type(value) is Thunk:
                    value = force_thunk(value)
                if type(value) is not dict:
                    return self.default.evaluate(env)
                attributes: dict[str, Any] = value
                value = attributes.get(name, UNDEFINED)
                if value is UNDEFINED:
                    return self.default.evaluate(env)
                entry = entry.after
            return force_thunk(value) if type(value) is Thunk else value
        except EvalError as error:
            in_path(error, scope, self.names, env, int(self.at))
            raise

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

    def position(self) -> int:
        return self.set.position()


@final
@mypyc_attr(acyclic=True)
class HasPath(Node):
    """`set ? a.${b}.c`."""

    def __init__(self, set_: Node, names: Name | None) -> None:
        self.set = set_
        self.names = names

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        value: Value = self.set.evaluate(env)
        entry = self.names
        while entry is not None:
            if type(value) is Thunk:
                try:
                    value = force_thunk(value)
                except EvalError as error:
                    needed_at(error, value, self.position())
                    raise
            node = entry.node
            name = entry.text if node is None else attribute_name(node.evaluate(env), node.position())
            if type(value) is not dict:
                return False
            attributes: dict[str, Any] = value
            value = attributes.get(name, UNDEFINED)
            if value is UNDEFINED:
                return False
            entry = entry.after
        return True

    def position(self) -> int:
        return self.set.position()


def attribute_name(value: Value, position: int) -> str:
    """A computed name, whose expression is at `position`. Raises `TypeMismatch`, and `EvalError` for one with context."""
    if type(value) is str:
        return value
    return plain_text(value, "while evaluating an attribute name", position)


def not_a_set(value: Value, position: int) -> EvalError:
    """Something else was to have attributes."""
    error = wrong_type("a set", value)
    error.while_(position, "while selecting an attribute")
    return error


def missing(attributes: dict[str, Value], name: str, position: int) -> EvalError:
    """A set doesn't have the attribute; the error names the nearest that it has."""
    from tvix.eval.nearest import nearest
    from tvix.eval.printer import name_text

    return MissingAttribute(f"attribute '{name_text(name)}' missing", position, nearest(name, attributes))


def in_attribute(error: EvalError, value: Thunk, name: str, position: int) -> None:
    """Have the error of an attribute's value say where that is defined. `position` is where it was selected."""
    from tvix.eval.printer import name_text

    defined = value.node.position()
    needed_at(error, value, defined or position)
    if defined:
        error.while_(defined, f"while evaluating the attribute '{name_text(name)}'")


def in_path(error: EvalError, scope: Value, names: Name | None, env: Env, position: int) -> None:
    """The same for a path, of which the error names all, with the place of the last attribute that was reached from `scope`."""
    found: Value = UNDEFINED
    entry = names
    while entry is not None:
        scope = known(scope)
        name = entry.text if entry.node is None else _computed(entry.node, env)
        if type(scope) is not dict or name is None:
            break
        attributes: dict[str, Any] = scope
        scope = attributes.get(name, UNDEFINED)
        if scope is UNDEFINED:
            break
        found = scope
        entry = entry.after
    if type(found) is not Thunk:
        return
    defined = found.node.position()
    needed_at(error, found, (defined or position) if entry is None else position)
    if defined:
        error.while_(defined, f"while evaluating the attribute '{_path_text(names, env, position)}'")


def _computed(node: Node, env: Env) -> str | None:
    """A name that was computed before; None where that failed."""
    depth, nesting = MACHINE.depth, MACHINE.nesting
    try:
        return attribute_name(node.evaluate(env), 0)
    except EvalError:
        MACHINE.depth, MACHINE.nesting = depth, nesting
        return None


def _path_text(names: Name | None, env: Env, position: int) -> str:
    """The path with the names that were computed; one that can't be computed shows as its expression."""
    from tvix.eval.error_report import name_source
    from tvix.eval.printer import name_text

    texts: list[str] = []
    while names is not None:
        text = names.text if names.node is None else _computed(names.node, env)
        texts.append(name_source(position, len(texts)) if text is None else name_text(text))
        names = names.after
    return ".".join(texts)
