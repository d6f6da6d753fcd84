"""Conditions that are known beforehand, and booleans that are compared with booleans."""

from __future__ import annotations

from tvix.eval.lint.rule import Rule
from tvix.eval.lint.scopes import find
from tvix.eval.syntax import Assertion, Binary, Conditional, Unary, Variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.lint.scopes import Scope
    from tvix.eval.syntax import Expression


def constant(tree: Expression, scope: Scope | None) -> bool | None:
    """`true` or `false`, and not only something of that name; None for all else."""
    if type(tree) is Unary and tree.operator == "!":
        operand = constant(tree.operand, scope)
        return None if operand is None else not operand
    if type(tree) is Variable and tree.name in ("true", "false") and find(scope, tree.name) is None:
        return tree.name == "true"
    return None


def _word(value: bool) -> str:
    return "true" if value else "false"


class DeadCode(Rule):
    """Branches that are never taken, operands that are never evaluated."""

    identifier = "dead-code"
    code = "W008"
    summary = "an expression that is never evaluated"
    advice = "remove it"

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        if type(tree) is Conditional:
            value = constant(tree.condition, scope)
            if value is not None:
                branch = "else" if value else "then"
                self.report(tree.position, f"the condition is always {_word(value)}: what is behind {branch} is never evaluated")
        elif type(tree) is Assertion:
            if constant(tree.condition, scope) is False:
                self.report(tree.position, "this assertion always fails: what follows it is never evaluated")
        elif type(tree) is Binary and tree.operator in _DECIDED_BY:
            value = constant(tree.left, scope)
            if value is not None and value is _DECIDED_BY[tree.operator]:
                self.report(
                    tree.position,
                    f"what is left of {tree.operator} is always {_word(value)}: what is right of it is never evaluated",
                )


_DECIDED_BY = {"&&": False, "||": True, "->": False}
"""By operator, what on its left makes its right unnecessary."""


class UselessBoolean(Rule):
    """`x == true`, `false || x`, `x && true`, `!(!x)`, `if x then true else false`, `assert true;`: the same as without."""

    identifier = "useless-boolean-operator"
    code = "W007"
    summary = "an operation on booleans that changes nothing"
    advice = "write the other operand alone, or its negation"

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        if type(tree) is Binary and tree.operator in _BOOLEAN:
            self._binary(tree, scope)
        elif type(tree) is Unary and tree.operator == "!":
            if constant(tree, scope) is not None:
                self.report(tree.position, f"this is {_word(constant(tree, scope) is True)}")
            elif type(tree.operand) is Unary and tree.operand.operator == "!":
                self.report(tree.position, "this negates a negation")
        elif type(tree) is Conditional:
            yes, no = constant(tree.yes, scope), constant(tree.no, scope)
            if yes is not None and no is not None:
                meaning = _word(yes) if yes is no else "the condition itself" if yes else "the condition, negated"
                self.report(tree.position, f"this is {meaning}")
        elif type(tree) is Assertion and constant(tree.condition, scope) is True:
            self.report(tree.position, "this assertion always holds")

    def _binary(self, tree: Binary, scope: Scope | None) -> None:
        left, right = constant(tree.left, scope), constant(tree.right, scope)
        operator = tree.operator
        if left is not None and operator in _DECIDED_BY:
            if left is not _DECIDED_BY[operator]:
                self.report(tree.position, f"{_word(left)} {operator} x is x")
        elif right is not None:
            self.report(tree.position, f"x {operator} {_word(right)} {_right(operator, right)}")
        elif left is not None:
            self.report(tree.position, f"{_word(left)} {operator} x {_right(operator, left)}")


_BOOLEAN = ("&&", "||", "->", "==", "!=")


def _right(operator: str, value: bool) -> str:
    """What an operation with a constant on the right comes to."""
    if operator in ("==", "!="):
        return "is x, for a boolean" if (operator == "==") is value else "is !x, for a boolean"
    if operator == "->":
        return "is true" if value else "is !x"
    return f"is {_word(value)}" if value is _DECIDED_BY[operator] else "is x"
