"""Calls. Those with one and two arguments, and those of builtins with all their arguments, are most of them and have their own."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.errors import EvalError
from tvix.eval.functions import BuiltinFunction, Closure, Lambda, Primitive, call, call2, called, described, in_builtin, is_function
from tvix.eval.nodes.variables import given_to_builtin
from tvix.eval.values import MACHINE, NO_SLOTS, Env, Node, too_deep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.annotations import i64
    from tvix.eval.nodes.variables import Nodes
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class Call1(Node):
    """`f x`."""

    def __init__(self, function: Node, argument: Node, position: i64) -> None:
        self.function = function
        self.argument = argument
        self.at = position

    def evaluate(self, env: Env) -> Value:
        function: Value = self.function.evaluate(env)
        argument: Value = self.argument.delay(env)
        try:
            if type(function) is Closure:
                machine = MACHINE
                machine.depth += 1
                if machine.depth > machine.max_depth:
                    too_deep()
                node = function.node
                try:
                    result: Value = node.body.evaluate(Env(NO_SLOTS, function.env, argument))
                except EvalError as error:
                    error.called(int(node.at), "while calling " + described(node.name))
                    raise
                machine.depth -= 1
                return result
            return call(function, argument)
        except EvalError as error:
            called(error, int(self.at))
            raise

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Call2(Node):
    """`f x y`."""

    def __init__(self, function: Node, first: Node, second: Node, position: i64) -> None:
        self.function = function
        self.first = first
        self.second = second
        self.at = position

    def evaluate(self, env: Env) -> Value:
        function: Value = self.function.evaluate(env)
        try:
            return call2(function, self.first.delay(env), self.second.delay(env))
        except EvalError as error:
            called(error, int(self.at))
            raise

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class CallN(Node):
    """`f x y z …`."""

    def __init__(self, function: Node, arguments: Nodes | None, position: i64) -> None:
        self.function = function
        self.arguments = arguments
        self.at = position

    def evaluate(self, env: Env) -> Value:
        function: Value = self.function.evaluate(env)
        entry = self.arguments
        try:
            while entry is not None:
                first: Value = entry.node.delay(env)
                entry = entry.after
                if type(function) is Closure:
                    body = function.node
                    scope = Env(NO_SLOTS, function.env, first)
                    inner = body.body
                    while entry is not None and type(inner) is Lambda:
                        scope = Env(NO_SLOTS, scope, entry.node.delay(env))
                        entry = entry.after
                        body = inner
                        inner = body.body
                    function = enter(body, scope)
                elif type(function) is BuiltinFunction and entry is not None and function.given + 2 <= function.primitive.arity:
                    second: Value = entry.node.delay(env)
                    entry = entry.after
                    if function.given == 0 and function.primitive.arity == 3 and entry is not None:
                        function = call_primitive3(function.primitive, first, second, entry.node.delay(env))
                        entry = entry.after
                    else:
                        function = function.call2(first, second)
                else:
                    function = call(function, first)
        except EvalError as error:
            called(error, int(self.at))
            raise
        return function

    def position(self) -> int:
        return int(self.at)


def enter(node: Lambda, scope: Env) -> Value:
    """The body of a function whose argument is in `scope`."""
    machine = MACHINE
    machine.depth += 1
    if machine.depth > machine.max_depth:
        too_deep()
    try:
        result: Value = node.body.evaluate(scope)
    except EvalError as error:
        error.called(int(node.at), "while calling " + described(node.name))
        raise
    machine.depth -= 1
    return result


def call_primitive3(primitive: Primitive, first: Value, second: Value, third: Value) -> Value:
    """A builtin with three arguments at once."""
    try:
        return primitive.call3(first, second, third)
    except EvalError as error:
        in_builtin(error, primitive, 0)
        raise


@final
@mypyc_attr(acyclic=True)
class Builtin1(Node):
    """A builtin by its name, with the one argument that it takes."""

    def __init__(self, primitive: Primitive, argument: Node, position: i64) -> None:
        self.primitive = primitive
        self.argument = argument
        self.at = position

    def evaluate(self, env: Env) -> Value:
        try:
            return self.primitive.call1(self.argument.delay(env))
        except EvalError as error:
            in_builtin(error, self.primitive, int(self.at))
            raise

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Builtin2(Node):
    """The same with two arguments."""

    def __init__(self, primitive: Primitive, first: Node, second: Node, position: i64) -> None:
        self.primitive = primitive
        self.first = first
        self.second = second
        self.at = position

    def evaluate(self, env: Env) -> Value:
        try:
            return self.primitive.call2(self.first.delay(env), self.second.delay(env))
        except EvalError as error:
            in_builtin(error, self.primitive, int(self.at))
            raise

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Builtin3(Node):
    """The same with three arguments."""

    def __init__(self, primitive: Primitive, first: Node, second: Node, third: Node, position: i64) -> None:
        self.primitive = primitive
        self.first = first
        self.second = second
        self.third = third
        self.at = position

    def evaluate(self, env: Env) -> Value:
        try:
            return self.primitive.call3(self.first.delay(env), self.second.delay(env), self.third.delay(env))
        except EvalError as error:
            in_builtin(error, self.primitive, int(self.at))
            raise

    def position(self) -> int:
        return int(self.at)


IS_SET, IS_LIST, IS_STRING, IS_FUNCTION, IS_NULL, IS_BOOL, IS_INT = range(7)


@final
@mypyc_attr(acyclic=True)
class IsType(Node):
    """`isAttrs x` and its kin: the argument is evaluated where it stands, without a thunk."""

    def __init__(self, kind: i64, argument: Node, name: str, position: i64) -> None:
        self.kind = kind
        self.argument = argument
        self.name = name
        self.at = position

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        try:
            value: Value = self.argument.evaluate(env)
        except EvalError as error:
            given_to_builtin(error, self.argument)
            error.while_(int(self.at), f"while calling the '{self.name}' builtin")
            raise
        kind = self.kind
        if kind == 0:
            return type(value) is dict
        if kind == 1:
            return type(value) is tuple
        if kind == 2:
            return isinstance(value, str)
        if kind == 3:
            return is_function(value)
        if kind == 4:
            return value is None
        if kind == 5:
            return type(value) is bool
        return type(value) is int

    def position(self) -> int:
        return int(self.at)
