"""Nodes and builtins that tell an observer what they do. The compiler puts them around others, where there is an observer.

Variables, constants and functions are never wrapped: what they are is asked by type in places that have to behave the same.
"""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.errors import EvalError
from tvix.eval.functions import FormalsLambda, Lambda, Primitive
from tvix.eval.nodes.variables import Constant
from tvix.eval.observer import BUILTIN, EXPRESSION, FILE, FUNCTION, Observer
from tvix.eval.values import UNDEFINED, Env, Node, Thunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class Observed(Node):
    """An expression; `name` says of what kind it is."""

    def __init__(self, node: Node, name: str, observer: Observer) -> None:
        self.node = node
        self.name = name
        self.observer = observer

    def evaluate(self, env: Env) -> Value:
        observer = self.observer
        observer.begun(EXPRESSION, self.name, self.node.position())
        value: Value = UNDEFINED
        try:
            value = self.node.evaluate(env)
        finally:
            observer.ended(EXPRESSION, self.name, value)
        return value

    def delay(self, env: Env) -> Value:
        value: Value = self.node.delay(env)
        if type(value) is Thunk and value.node is self.node:
            self.observer.delayed(self.name)
            return Thunk(self, env, None)
        return value

    def peek(self, env: Env) -> Value:
        return self.node.peek(env)

    def test(self, env: Env) -> bool:
        observer = self.observer
        observer.begun(EXPRESSION, self.name, self.node.position())
        value: Value = UNDEFINED
        try:
            value = self.node.test(env)
        finally:
            observer.ended(EXPRESSION, self.name, value)
        return value is True

    def update(self, env: Env) -> Value:
        observer = self.observer
        observer.begun(EXPRESSION, self.name, self.node.position())
        value: Value = UNDEFINED
        try:
            value = self.node.update(env)
        finally:
            observer.ended(EXPRESSION, self.name, value)
        return value

    def position(self) -> int:
        return self.node.position()

    def called_at(self, error: EvalError, position: int) -> None:
        self.node.called_at(error, position)


@final
@mypyc_attr(acyclic=True)
class ObservedBody(Node):
    """The body of a function with one argument, or of one with a set pattern."""

    def __init__(self, node: Node, simple: Lambda | None, pattern: FormalsLambda | None, observer: Observer) -> None:
        self.node = node
        self.simple = simple
        self.pattern = pattern
        self.observer = observer

    def evaluate(self, env: Env) -> Value:
        observer = self.observer
        name = self.function_name()
        observer.begun(FUNCTION, name, self.function_position())
        value: Value = UNDEFINED
        try:
            value = self.node.evaluate(env)
        finally:
            observer.ended(FUNCTION, name, value)
        return value

    def position(self) -> int:
        return self.node.position()

    def function_name(self) -> str:
        """What the function is called by now."""
        simple, pattern = self.simple, self.pattern
        return simple.name if simple is not None else pattern.name if pattern is not None else ""

    def function_position(self) -> int:
        """Where the function is."""
        simple, pattern = self.simple, self.pattern
        return int(simple.at) if simple is not None else int(pattern.at) if pattern is not None else 0


@final
@mypyc_attr(acyclic=True)
class ObservedFile(Node):
    """All of a file."""

    def __init__(self, node: Node, path: str, start: int, observer: Observer) -> None:
        self.node = node
        self.path = path
        self.start = start
        self.observer = observer

    def evaluate(self, env: Env) -> Value:
        observer = self.observer
        observer.begun(FILE, self.path, self.start)
        value: Value = UNDEFINED
        try:
            value = self.node.evaluate(env)
        finally:
            observer.ended(FILE, self.path, value)
        return value

    def position(self) -> int:
        return self.node.position()


@final
@mypyc_attr(acyclic=True)
class ObservedPrimitive(Primitive):
    """A builtin."""

    def __init__(self, primitive: Primitive, observer: Observer) -> None:
        super().__init__(primitive.name, primitive.arity)
        self.primitive = primitive
        self.observer = observer

    def call1(self, first: Value) -> Value:
        observer = self.observer
        observer.begun(BUILTIN, self.name, 0)
        value: Value = UNDEFINED
        try:
            value = self.primitive.call1(first)
        finally:
            observer.ended(BUILTIN, self.name, value)
        return value

    def call2(self, first: Value, second: Value) -> Value:
        observer = self.observer
        observer.begun(BUILTIN, self.name, 0)
        value: Value = UNDEFINED
        try:
            value = self.primitive.call2(first, second)
        finally:
            observer.ended(BUILTIN, self.name, value)
        return value

    def call3(self, first: Value, second: Value, third: Value) -> Value:
        observer = self.observer
        observer.begun(BUILTIN, self.name, 0)
        value: Value = UNDEFINED
        try:
            value = self.primitive.call3(first, second, third)
        finally:
            observer.ended(BUILTIN, self.name, value)
        return value

    def itself(self) -> Primitive:
        return self.primitive


def observed(node: Node, name: str, observer: Observer) -> Node:
    """The node of an expression, such that the observer hears of what it should."""
    if type(node) is Lambda:
        if type(node.body) is not Lambda and type(node.body) is not FormalsLambda:
            node.body = ObservedBody(node.body, node, None, observer)
        return node
    if type(node) is FormalsLambda:
        if type(node.body) is not Lambda and type(node.body) is not FormalsLambda:
            node.body = ObservedBody(node.body, None, node, observer)
        return node
    if type(node) is Constant or not observer.expressions:
        return node
    return Observed(node, name, observer)
