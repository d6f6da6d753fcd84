"""Arithmetic, comparison, concatenation, lists and interpolation."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.arithmetic import HALF, SEGMENT, SMALL, add, divide, multiply, negate, subtract
from tvix.eval.coercion import to_text
from tvix.eval.comparison import less
from tvix.eval.errors import EvalError
from tvix.eval.nodes.variables import Constant, Nodes, Placed, given_to_builtin
from tvix.eval.paths import normal
from tvix.eval.strings import ContextString, with_context
from tvix.eval.values import Env, Node, Path, Thunk, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class Add(Node):
    """`left + right`."""

    def __init__(self, left: Node, right: Node, position: i64, left_at: i64, right_at: i64) -> None:
        self.left = left
        self.right = right
        self.at = position
        self.left_at = left_at
        self.right_at = right_at

    def evaluate(self, env: Env) -> Value:
        left: Value = self.left.evaluate(env)
        if type(left) is int:
            right: Value = self.right.evaluate(env)
            if type(right) is int:
                result: int = left + right
                if -SMALL < result < SMALL:
                    return result
            return add(left, right, int(self.right_at), int(self.at))
        if type(left) is str or type(left) is float or type(left) is Path or type(left) is ContextString:
            right = self.right.evaluate(env)
            if type(left) is str and type(right) is str:
                return left + right
            return add(left, right, int(self.right_at), int(self.at))
        return self._add_to_other(left, env)

    def _add_to_other(self, left: Value, env: Env) -> Value:
        """What stands on the left has to be made a string, before the right is looked at."""
        context: set[str] = set()
        text = to_text(left, context, False, False, SEGMENT, int(self.left_at))
        right: Value = self.right.evaluate(env)
        return with_context(text + to_text(right, context, False, False, SEGMENT, int(self.right_at)), context)

    def delay(self, env: Env) -> Value:
        left: Value = self.left.peek(env)
        if type(left) is int:
            right: Value = self.right.peek(env)
            if type(right) is int:
                result: int = left + right
                if -SMALL < result < SMALL:
                    return result
        return Thunk(self, env, None)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Subtract(Node):
    """`left - right`."""

    def __init__(self, left: Node, right: Node, position: i64) -> None:
        self.left = left
        self.right = right
        self.at = position

    def evaluate(self, env: Env) -> Value:
        try:
            left: Value = self.left.evaluate(env)
            right: Value = self.right.evaluate(env)
            if type(left) is int and type(right) is int:
                result: int = left - right
                if -SMALL < result < SMALL:
                    return result
            return subtract(left, right)
        except EvalError as error:
            in_operator(error, self.left, self.right, int(self.at), "while calling the 'sub' builtin")
            raise

    def delay(self, env: Env) -> Value:
        left: Value = self.left.peek(env)
        if type(left) is int:
            right: Value = self.right.peek(env)
            if type(right) is int:
                result: int = left - right
                if -SMALL < result < SMALL:
                    return result
        return Thunk(self, env, None)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Multiply(Node):
    """`left * right`."""

    def __init__(self, left: Node, right: Node, position: i64) -> None:
        self.left = left
        self.right = right
        self.at = position

    def evaluate(self, env: Env) -> Value:
        try:
            left: Value = self.left.evaluate(env)
            right: Value = self.right.evaluate(env)
            if type(left) is int and type(right) is int:
                one: int = left
                other: int = right
                if -HALF < one < HALF and -HALF < other < HALF:
                    return one * other
            return multiply(left, right)
        except EvalError as error:
            in_operator(error, self.left, self.right, int(self.at), "while calling the 'mul' builtin")
            raise

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Divide(Node):
    """`left / right`."""

    def __init__(self, left: Node, right: Node, position: i64) -> None:
        self.left = left
        self.right = right
        self.at = position

    def evaluate(self, env: Env) -> Value:
        try:
            left: Value = self.left.evaluate(env)
            right: Value = self.right.evaluate(env)
            if type(left) is int and type(right) is int:
                dividend: int = left
                divisor: int = right
                if dividend >= 0 and divisor > 0:
                    return dividend // divisor
            return divide(left, right)
        except EvalError as error:
            in_operator(error, self.left, self.right, int(self.at), "while calling the 'div' builtin")
            raise

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Negate(Node):
    """`-operand`."""

    def __init__(self, operand: Node, position: i64) -> None:
        self.operand = operand
        self.at = position

    def evaluate(self, env: Env) -> Value:
        try:
            return negate(self.operand.evaluate(env))
        except EvalError as error:
            in_operator(error, self.operand, self.operand, int(self.at), "while calling the 'sub' builtin")
            raise

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Less(Node):
    """`left < right` and, `negated`, `left >= right`. The two others are this with their sides exchanged."""

    def __init__(self, left: Node, right: Node, negated: bool, position: i64) -> None:
        self.left = left
        self.right = right
        self.negated = negated
        self.at = position

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        try:
            left: Value = self.left.evaluate(env)
            right: Value = self.right.evaluate(env)
            if type(left) is int and type(right) is int:
                one: int = left
                other: int = right
                return (one < other) != self.negated
            return less(left, right) != self.negated
        except EvalError as error:
            in_operator(error, self.left, self.right, int(self.at), "while calling the 'lessThan' builtin")
            if self.negated:
                error.while_(int(self.at), "in the argument of the not operator")
            raise

    def position(self) -> int:
        return int(self.at)


def in_operator(error: EvalError, left: Node, right: Node, position: int, text: str) -> None:
    """Have the error of an operator, which for C++ Nix is a builtin, say so."""
    given_to_builtin(error, left)
    given_to_builtin(error, right)
    error.while_(position, text)


@final
@mypyc_attr(acyclic=True)
class ListOne(Node):
    """`[ x ]`."""

    def __init__(self, item: Node) -> None:
        self.item = item

    def evaluate(self, env: Env) -> Value:
        return (self.item.delay(env),)

    def delay(self, env: Env) -> Value:
        item = self.item
        if type(item) is Constant:
            return (item.value,)
        return Thunk(self, env, None)

    def position(self) -> int:
        return self.item.position()


@final
@mypyc_attr(acyclic=True)
class ListLiteral(Node):
    """`[ x y … ]`."""

    def __init__(self, first: Nodes | None) -> None:
        self.first = first

    def evaluate(self, env: Env) -> Value:
        items: list[Any] = []
        entry = self.first
        while entry is not None:
            items.append(entry.node.delay(env))
            entry = entry.after
        return tuple(items)

    def position(self) -> int:
        first = self.first
        return 0 if first is None else first.node.position()


@final
@mypyc_attr(acyclic=True)
class Concatenate(Node):
    """`left ++ right`."""

    def __init__(self, left: Node, right: Node, position: i64) -> None:
        self.left = left
        self.right = right
        self.at = position

    def evaluate(self, env: Env) -> Value:
        left: Value = self.left.evaluate(env)
        right: Value = self.right.evaluate(env)
        if type(left) is not tuple:
            raise self._not_a_list(left)
        if type(right) is not tuple:
            raise self._not_a_list(right)
        if not left:
            return right
        if not right:
            return left
        return left + right

    def position(self) -> int:
        return int(self.at)

    def _not_a_list(self, value: Value) -> EvalError:
        error = wrong_type("a list", value)
        error.while_(int(self.at), "while evaluating one of the elements to concatenate")
        return error


@final
@mypyc_attr(acyclic=True)
class Interpolation(Node):
    """`"text ${x} …"`."""

    def __init__(self, first: Placed | None, position: i64) -> None:
        self.first = first
        self.at = position

    def evaluate(self, env: Env) -> Value:
        text = ""
        context: set[str] | None = None
        entry = self.first
        while entry is not None:
            part: Value = entry.node.evaluate(env)
            if type(part) is not str:
                if context is None:
                    context = set()
                part = to_text(part, context, False, True, SEGMENT, int(entry.at))
            text += part
            entry = entry.after
        return text if context is None else with_context(text, context)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class PathInterpolation(Node):
    """`./a/${x}`: `base` is the path before the first interpolation, absolute, with its trailing slash."""

    def __init__(self, base: str, first: Placed | None, position: i64) -> None:
        self.base = base
        self.first = first
        self.at = position

    def evaluate(self, env: Env) -> Value:
        text = self.base
        context: set[str] = set()
        entry = self.first
        while entry is not None:
            text += to_text(entry.node.evaluate(env), context, False, False, SEGMENT, int(entry.at))
            entry = entry.after
        if context:
            raise EvalError("a string that refers to a store path cannot be appended to a path", int(self.at))
        return Path(normal(text))

    def position(self) -> int:
        return int(self.at)
