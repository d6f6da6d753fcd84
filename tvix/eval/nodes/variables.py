"""Constants and variables.

The resolver has turned names into places: how many scopes up, and which slot there, or that scope's single argument. What is near
is most of what is used, so the first two scopes have classes of their own; for those further up it makes no measurable difference.
"""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.errors import EvalError, InfiniteRecursion, UndefinedVariable
from tvix.eval.values import UNDEFINED, Env, Node, Thunk, force_thunk, known, needed_at, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class Constant(Node):
    """A literal, or a builtin."""

    def __init__(self, value: Value, position: i64) -> None:
        self.value = value
        self.at = position

    def evaluate(self, env: Env) -> Value:
        return self.value

    def delay(self, env: Env) -> Value:
        return self.value

    def peek(self, env: Env) -> Value:
        return self.value

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class LazyConstant(Node):
    """A name that is in scope everywhere and whose value isn't computed before it is needed."""

    def __init__(self, thunk: Thunk, position: i64) -> None:
        self.thunk = thunk
        self.at = position

    def evaluate(self, env: Env) -> Value:
        return force_thunk(self.thunk)

    def delay(self, env: Env) -> Value:
        return self.thunk

    def peek(self, env: Env) -> Value:
        return known(self.thunk)

    def position(self) -> int:
        return int(self.at)


def up(env: Env, scopes: i64) -> Env:
    """The scope so many above."""
    while scopes > 0:
        above = env.up
        assert above is not None
        env = above
        scopes -= 1
    return env


def known_slot(slots: list[Any], index: i64) -> Value:
    """The value of a slot if it is known; slots are filled one after the other, and may be looked at before they are there."""
    if index >= len(slots):
        return UNDEFINED
    return known(slots[index])


@final
@mypyc_attr(acyclic=True)
class Slot0(Node):
    """A slot of the innermost scope."""

    def __init__(self, index: i64, position: i64) -> None:
        self.index = index
        self.at = position

    def evaluate(self, env: Env) -> Value:
        value: Value = env.slots[self.index]
        if type(value) is Thunk:
            try:
                return force_thunk(value)
            except EvalError as error:
                needed_at(error, value, int(self.at))
                raise
        return value

    def delay(self, env: Env) -> Value:
        return env.slots[self.index]

    def peek(self, env: Env) -> Value:
        return known_slot(env.slots, self.index)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Slot1(Node):
    """A slot of the scope above."""

    def __init__(self, index: i64, position: i64) -> None:
        self.index = index
        self.at = position

    def evaluate(self, env: Env) -> Value:
        above = env.up
        assert above is not None
        value: Value = above.slots[self.index]
        if type(value) is Thunk:
            try:
                return force_thunk(value)
            except EvalError as error:
                needed_at(error, value, int(self.at))
                raise
        return value

    def delay(self, env: Env) -> Value:
        above = env.up
        assert above is not None
        return above.slots[self.index]

    def peek(self, env: Env) -> Value:
        above = env.up
        assert above is not None
        return known_slot(above.slots, self.index)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Slot(Node):
    """A slot of a scope further up."""

    def __init__(self, scopes: i64, index: i64, position: i64) -> None:
        self.scopes = scopes
        self.index = index
        self.at = position

    def evaluate(self, env: Env) -> Value:
        value: Value = up(env, self.scopes).slots[self.index]
        if type(value) is Thunk:
            try:
                return force_thunk(value)
            except EvalError as error:
                needed_at(error, value, int(self.at))
                raise
        return value

    def delay(self, env: Env) -> Value:
        return up(env, self.scopes).slots[self.index]

    def peek(self, env: Env) -> Value:
        return known_slot(up(env, self.scopes).slots, self.index)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Argument0(Node):
    """The single argument of the innermost scope."""

    def __init__(self, position: i64) -> None:
        self.at = position

    def evaluate(self, env: Env) -> Value:
        value: Value = env.argument
        if type(value) is Thunk:
            try:
                return force_thunk(value)
            except EvalError as error:
                needed_at(error, value, int(self.at))
                raise
        return value

    def delay(self, env: Env) -> Value:
        return env.argument

    def peek(self, env: Env) -> Value:
        return known(env.argument)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Argument1(Node):
    """The single argument of the scope above."""

    def __init__(self, position: i64) -> None:
        self.at = position

    def evaluate(self, env: Env) -> Value:
        above = env.up
        assert above is not None
        value: Value = above.argument
        if type(value) is Thunk:
            try:
                return force_thunk(value)
            except EvalError as error:
                needed_at(error, value, int(self.at))
                raise
        return value

    def delay(self, env: Env) -> Value:
        above = env.up
        assert above is not None
        return above.argument

    def peek(self, env: Env) -> Value:
        above = env.up
        assert above is not None
        return known(above.argument)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Argument(Node):
    """The single argument of a scope further up."""

    def __init__(self, scopes: i64, position: i64) -> None:
        self.scopes = scopes
        self.at = position

    def evaluate(self, env: Env) -> Value:
        value: Value = up(env, self.scopes).argument
        if type(value) is Thunk:
            try:
                return force_thunk(value)
            except EvalError as error:
                needed_at(error, value, int(self.at))
                raise
        return value

    def delay(self, env: Env) -> Value:
        return up(env, self.scopes).argument

    def peek(self, env: Env) -> Value:
        return known(up(env, self.scopes).argument)

    def position(self) -> int:
        return int(self.at)


def is_variable(node: Node) -> bool:
    """Whether an expression is a name that a scope binds."""
    kind = type(node)
    return kind is Slot0 or kind is Slot1 or kind is Slot or kind is Argument0 or kind is Argument1 or kind is Argument


def given_to_builtin(error: EvalError, argument: Node) -> None:
    """A builtin doesn't know where a variable stands that it was given, and so where it found infinite recursion."""
    here = isinstance(error, InfiniteRecursion) and not error.frames and is_variable(argument)
    if here and error.position == argument.position():
        error.position = 0


@final
@mypyc_attr(acyclic=True)
class Sibling(Node):
    """A binding that is nothing but a later one of the same scope, whose slot isn't filled yet: it becomes a thunk."""

    def __init__(self, variable: Node) -> None:
        self.variable = variable

    def evaluate(self, env: Env) -> Value:
        return self.variable.evaluate(env)

    def position(self) -> int:
        return self.variable.position()


@final
@mypyc_attr(acyclic=True)
class Nodes:
    """A linked list of expressions: mypyc reads a native field faster than the element of a list."""

    def __init__(self, node: Node, after: Nodes | None) -> None:
        self.node = node
        self.after = after


@final
@mypyc_attr(acyclic=True)
class Placed:
    """The same, each with the place that errors name."""

    def __init__(self, node: Node, position: i64, after: Placed | None) -> None:
        self.node = node
        self.at = position
        self.after = after


@final
@mypyc_attr(acyclic=True)
class WithVariable(Node):
    """A name that no scope binds, looked up in the sets of the `with`s around it, the innermost first."""

    def __init__(self, name: str, sets: Placed | None, position: i64) -> None:
        self.name = name
        self.sets = sets
        self.at = position

    def evaluate(self, env: Env) -> Value:
        entry = self.sets
        while entry is not None:
            scope: Value = entry.node.evaluate(env)
            if type(scope) is not dict:
                raise _not_a_set(scope, int(entry.at))
            attributes: dict[str, Any] = scope
            value: Value = attributes.get(self.name, UNDEFINED)
            if type(value) is Thunk:
                try:
                    return force_thunk(value)
                except EvalError as error:
                    needed_at(error, value, int(self.at))
                    raise
            if value is not UNDEFINED:
                return value
            entry = entry.after
        raise UndefinedVariable(f"undefined variable '{self.name}'", int(self.at))

    def delay(self, env: Env) -> Value:
        entry = self.sets
        if entry is not None:
            scope: Value = entry.node.peek(env)
            if type(scope) is dict:
                value: Value = scope.get(self.name, UNDEFINED)
                if value is not UNDEFINED:
                    return value
        return Thunk(self, env, None)

    def position(self) -> int:
        return int(self.at)


def _not_a_set(scope: Value, position: int) -> EvalError:
    """Something else was to have the names of a `with`."""
    error = wrong_type("a set", scope)
    error.while_(position, "while evaluating the first subexpression of a with expression")
    return error


@final
@mypyc_attr(acyclic=True)
class CurrentPosition(Node):
    """`__curPos`."""

    def __init__(self, position: i64, describe: Any) -> None:
        self.at = position
        self.describe = describe

    def evaluate(self, env: Env) -> Value:
        return self.describe(int(self.at))
