"""Attribute sets, `rec`, `let`, `with` and `//`."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import plain_text
from tvix.eval.errors import EvalError, InfiniteRecursion
from tvix.eval.functions import FormalsLambda, Lambda, name_function
from tvix.eval.nodes.variables import Constant, Nodes, is_variable
from tvix.eval.values import MACHINE, NO_SLOTS, UNDEFINED, Env, Node, Thunk, force, known, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class Binding(Node):
    """`name = node` in a set, and the next one. It is the node of the thunk that it makes, so that a set's attributes know where
    they were defined; a constant makes one thunk for all sets.
    """

    def __init__(self, name: str, node: Node, position: i64, after: Binding | None) -> None:
        self.name = name
        self.node = node
        self.at = position
        self.after = after
        self.constant: Thunk | None = None
        if type(node) is Constant:
            self.constant = Thunk(self, None, node.value)

    def delay(self, env: Env) -> Value:
        constant = self.constant
        if constant is not None:
            return constant
        value: Value = self.node.peek(env)
        if value is UNDEFINED:
            return Thunk(self, env, None)
        return Thunk(self, None, value)

    def evaluate(self, env: Env) -> Value:
        return self.node.evaluate(env)

    def position(self) -> int:
        return int(self.at)

    def called_at(self, error: EvalError, position: int) -> None:
        """A variable under another name doesn't count as a place where infinite recursion was found."""
        here = isinstance(error, InfiniteRecursion) and not error.frames and is_variable(self.node)
        if here and error.position == self.node.position():
            error.position = position


@final
@mypyc_attr(acyclic=True)
class DynamicBinding:
    """`${name} = node`, and the next. A name that is null binds nothing."""

    def __init__(self, name: Node, binding: Binding, after: DynamicBinding | None) -> None:
        self.name = name
        self.binding = binding
        self.after = after


def add_dynamic(attributes: dict[str, Value], first: DynamicBinding | None, names_env: Env, env: Env) -> None:
    """Add what is bound under computed names; `names_env` is the scope of the names. Raises where a name is there already."""
    entry = first
    while entry is not None:
        binding = entry.binding
        name: Value = entry.name.evaluate(names_env)
        if name is not None:
            key = plain_text(name, "while evaluating the name of a dynamic attribute", int(binding.at))
            if key in attributes:
                from tvix.eval.duplicates import already_defined

                raise already_defined(key, int(binding.at), attributes[key])
            node = binding.node
            if type(node) is Lambda or type(node) is FormalsLambda:
                name_function(node, key)
            attributes[key] = binding.delay(env)
        entry = entry.after


@final
@mypyc_attr(acyclic=True)
class SetLiteral(Node):
    """`{ … }`."""

    def __init__(self, first: Binding | None, dynamic: DynamicBinding | None, position: i64) -> None:
        self.first = first
        self.dynamic = dynamic
        self.at = position

    def evaluate(self, env: Env) -> Value:
        attributes: dict[str, Any] = {}
        self.write(attributes, env)
        if self.dynamic is not None:
            add_dynamic(attributes, self.dynamic, env, env)
        return attributes

    def update(self, env: Env) -> Value:
        attributes: Value = self.evaluate(env)
        MACHINE.fresh = True
        return attributes

    def write(self, attributes: dict[str, Value], env: Env) -> None:
        """Add what is bound under fixed names."""
        binding = self.first
        while binding is not None:
            attributes[binding.name] = binding.delay(env)
            binding = binding.after

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class RecursiveSet(Node):
    """`rec { … }`, whose attributes are variables inside. `overrides` is the slot of `__overrides`, -1 without one; `hidden` are
    variables that aren't attributes.
    """

    def __init__(
        self, first: Binding | None, dynamic: DynamicBinding | None, overrides: i64, hidden: Nodes | None, position: i64
    ) -> None:
        self.first = first
        self.dynamic = dynamic
        self.overrides = overrides
        self.hidden = hidden
        self.at = position

    def evaluate(self, env: Env) -> Value:
        attributes: dict[str, Any] = {}
        slots: list[Any] = []
        scope = Env(slots, env, None)
        binding = self.first
        while binding is not None:
            value: Value = binding.delay(scope) if self.overrides < 0 else Thunk(binding, scope, None)
            slots.append(value)
            attributes[binding.name] = value
            binding = binding.after
        entry = self.hidden
        while entry is not None:
            slots.append(entry.node.delay(scope))
            entry = entry.after
        if self.overrides >= 0:
            self._override(attributes, slots)
        if self.dynamic is not None:
            add_dynamic(attributes, self.dynamic, scope, scope)
        return attributes

    def update(self, env: Env) -> Value:
        attributes: Value = self.evaluate(env)
        MACHINE.fresh = True
        return attributes

    def _override(self, attributes: dict[str, Value], slots: list[Value]) -> None:
        """The attributes of `__overrides` replace those of the set, also where the others refer to them."""
        overrides: Value = force(slots[self.overrides])
        if type(overrides) is not dict:
            error = wrong_type("a set", overrides)
            error.while_(0, "while evaluating the `__overrides` attribute")
            raise error
        binding = self.first
        index = 0
        while binding is not None:
            value: Value = overrides.get(binding.name, UNDEFINED)
            if value is not UNDEFINED:
                slots[index] = value
            index += 1
            binding = binding.after
        attributes.update(overrides)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Let(Node):
    """`let … in body`, two bindings or more."""

    def __init__(self, first: Nodes | None, body: Node) -> None:
        self.first = first
        self.body = body

    def evaluate(self, env: Env) -> Value:
        return self.body.evaluate(self.scope(env))

    def test(self, env: Env) -> bool:
        return self.body.test(self.scope(env))

    def update(self, env: Env) -> Value:
        return self.body.update(self.scope(env))

    def scope(self, env: Env) -> Env:
        """The scope of the body."""
        slots: list[Any] = []
        scope = Env(slots, env, None)
        entry = self.first
        while entry is not None:
            slots.append(entry.node.delay(scope))
            entry = entry.after
        return scope


@final
@mypyc_attr(acyclic=True)
class LetOne(Node):
    """`let x = …; in body`: its value is kept in the scope itself."""

    def __init__(self, node: Node, body: Node) -> None:
        self.node = node
        self.body = body

    def evaluate(self, env: Env) -> Value:
        scope = Env(NO_SLOTS, env, UNDEFINED)  # not None, which would be the Nix null to whoever peeks too early
        scope.argument = self.node.delay(scope)
        return self.body.evaluate(scope)

    def test(self, env: Env) -> bool:
        scope = Env(NO_SLOTS, env, UNDEFINED)
        scope.argument = self.node.delay(scope)
        return self.body.test(scope)

    def update(self, env: Env) -> Value:
        scope = Env(NO_SLOTS, env, UNDEFINED)
        scope.argument = self.node.delay(scope)
        return self.body.update(scope)


@final
@mypyc_attr(acyclic=True)
class With(Node):
    """`with set; body`: the set is the argument of a scope without names."""

    def __init__(self, set_: Node, body: Node, position: i64) -> None:
        self.set = set_
        self.body = body
        self.at = position

    def evaluate(self, env: Env) -> Value:
        return self.body.evaluate(Env(NO_SLOTS, env, self.set.delay(env)))

    def update(self, env: Env) -> Value:
        return self.body.update(Env(NO_SLOTS, env, self.set.delay(env)))

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Update(Node):
    """`left // right`. A set that nobody else has seen yet is changed in place: `a // b // { … }` copies `a` once."""

    def __init__(self, left: Node, right: Node, position: i64) -> None:
        self.left = left
        self.right = right
        self.at = position

    def evaluate(self, env: Env) -> Value:
        return self.update(env)

    def update(self, env: Env) -> Value:
        machine = MACHINE
        left: Value
        try:
            left = self.left.update(env)
            if type(left) is not dict:
                raise wrong_type("a set", left)
        except EvalError as error:
            error.while_(int(self.at), "in the left operand of the update (//) operator")
            raise
        fresh = machine.fresh
        attributes: dict[str, Any] = left
        literal = self.right
        if type(literal) is SetLiteral and literal.dynamic is None:
            if not fresh:
                attributes = attributes.copy()
            literal.write(attributes, env)
            machine.fresh = True
            return attributes
        right: Value
        try:
            right = literal.update(env)
            if type(right) is not dict:
                raise wrong_type("a set", right)
        except EvalError as error:
            error.while_(int(self.at), "in the right operand of the update (//) operator")
            raise
        others: dict[str, Any] = right
        if not others:
            machine.fresh = fresh
            return attributes
        if not attributes:
            return others
        if fresh:
            attributes.update(others)
            machine.fresh = True
            return attributes
        machine.fresh = True
        return attributes | others

    def position(self) -> int:
        return int(self.at)


def peek_attribute(attributes: dict[str, Value], name: str) -> Value:
    """The value of an attribute if it is there and known, else `UNDEFINED`."""
    return known(attributes.get(name, UNDEFINED))
