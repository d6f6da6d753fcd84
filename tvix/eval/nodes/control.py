"""`if`, `assert`, and the operators on booleans."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.comparison import equal
from tvix.eval.errors import AssertionFailed, EvalError, TypeMismatch
from tvix.eval.values import Env, Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class If(Node):
    """`if condition then yes else no`."""

    def __init__(self, condition: Node, yes: Node, no: Node, position: i64) -> None:
        self.condition = condition
        self.yes = yes
        self.no = no
        self.at = position

    def evaluate(self, env: Env) -> Value:
        if boolean(self.condition, env, int(self.at), "while evaluating a branch condition"):
            return self.yes.evaluate(env)
        return self.no.evaluate(env)

    def test(self, env: Env) -> bool:
        if boolean(self.condition, env, int(self.at), "while evaluating a branch condition"):
            return self.yes.test(env)
        return self.no.test(env)

    def update(self, env: Env) -> Value:
        if boolean(self.condition, env, int(self.at), "while evaluating a branch condition"):
            return self.yes.update(env)
        return self.no.update(env)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Assert(Node):
    """`assert condition; body`. `explain` makes the error out of the position, when it is needed."""

    def __init__(self, condition: Node, body: Node, position: i64, explain: Any) -> None:
        self.condition = condition
        self.body = body
        self.at = position
        self.explain = explain

    def evaluate(self, env: Env) -> Value:
        if not boolean(self.condition, env, int(self.at), "in the condition of the assert statement"):
            raise self._failed(env)
        return self.body.evaluate(env)

    def position(self) -> int:
        return int(self.at)

    def _failed(self, env: Env) -> EvalError:
        condition = self.condition
        text = self.explain(int(self.at))
        error = AssertionFailed(f"assertion '{text}' failed", int(self.at))
        if (type(condition) is Equal or type(condition) is EqualText) and not condition.negated:
            from tvix.eval.difference import explain_difference

            right: Value = condition.right.evaluate(env) if type(condition) is Equal else condition.text
            try:
                explain_difference(condition.left.evaluate(env), right)
            except AssertionFailed as difference:
                difference.while_(int(self.at), f"while evaluating the condition of the assertion '{text}'")
                raise
        return error


@final
@mypyc_attr(acyclic=True)
class And(Node):
    """`left && right`."""

    def __init__(self, left: Node, right: Node, position: i64) -> None:
        self.left = left
        self.right = right
        self.at = position

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        return boolean(self.left, env, int(self.at), "in the left operand of the AND (&&) operator") and boolean(
            self.right, env, int(self.at), "in the right operand of the AND (&&) operator"
        )

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Or(Node):
    """`left || right`."""

    def __init__(self, left: Node, right: Node, position: i64) -> None:
        self.left = left
        self.right = right
        self.at = position

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        return boolean(self.left, env, int(self.at), "in the left operand of the OR (||) operator") or boolean(
            self.right, env, int(self.at), "in the right operand of the OR (||) operator"
        )

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Implies(Node):
    """`left -> right`."""

    def __init__(self, left: Node, right: Node, position: i64) -> None:
        self.left = left
        self.right = right
        self.at = position

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        return not boolean(self.left, env, int(self.at), "in the left operand of the IMPL (->) operator") or boolean(
            self.right, env, int(self.at), "in the right operand of the IMPL (->) operator"
        )

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Not(Node):
    """`!operand`."""

    def __init__(self, operand: Node) -> None:
        self.operand = operand

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        try:
            return not self.operand.test(env)
        except EvalError as error:
            in_condition(error, self.operand.position(), "in the argument of the not operator")
            raise

    def position(self) -> int:
        return self.operand.position()


@final
@mypyc_attr(acyclic=True)
class Equal(Node):
    """`left == right` and, `negated`, `left != right`. Has no position in C++ Nix, and so none here."""

    def __init__(self, left: Node, right: Node, negated: bool) -> None:
        self.left = left
        self.right = right
        self.negated = negated

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        left: Value = self.left.evaluate(env)
        right: Value = self.right.evaluate(env)
        same: bool
        if type(left) is str and type(right) is str:
            same = left == right
        elif left is None or right is None:
            same = left is right
        else:
            same = equal(left, right)
        return same != self.negated


@final
@mypyc_attr(acyclic=True)
class EqualText(Node):
    """The same where the right side is a literal string."""

    def __init__(self, left: Node, text: str, negated: bool) -> None:
        self.left = left
        self.text = text
        self.negated = negated

    def evaluate(self, env: Env) -> Value:
        return self.test(env)

    def test(self, env: Env) -> bool:
        left: Value = self.left.evaluate(env)
        if isinstance(left, str):
            return (left == self.text) != self.negated
        return self.negated


def boolean(node: Node, env: Env, position: int, purpose: str) -> bool:
    """The value of a condition. Every error on the way says in `purpose` what the condition was for."""
    try:
        return node.test(env)
    except EvalError as error:
        in_condition(error, position, purpose)
        raise


def in_condition(error: EvalError, position: int, purpose: str) -> None:
    """Have the error of a condition say what that was for; that it is no boolean is an error of this place."""
    if isinstance(error, TypeMismatch) and not error.frames:
        error.at(position)
    error.while_(position, purpose)
