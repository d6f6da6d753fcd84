"""Bindings that bind nothing, or could be said more plainly."""

from __future__ import annotations

from tvix.eval.lint.rule import Rule
from tvix.eval.syntax import PLAIN, AttributeSet, LetIn, SelectAttribute, Variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.lint.scopes import Scope
    from tvix.eval.syntax import Expression


def is_legacy_let(tree: Expression) -> bool:
    """Whether an expression is `let { …; body = e; }`."""
    return type(tree) is SelectAttribute and tree.position < 0


class EmptyLet(Rule):
    """`let in e`."""

    identifier = "empty-let"
    code = "W010"
    summary = "a let that binds nothing"
    advice = "write its body alone"

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        if type(tree) is LetIn and not tree.bindings.attributes and not tree.bindings.sources:
            self.report(tree.position, "this let binds nothing")


class EmptyInherit(Rule):
    """`inherit;` and `inherit (e);`."""

    identifier = "empty-inherit"
    code = "W009"
    summary = "an inherit that names nothing"
    advice = "remove it"

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        bindings = tree.bindings if type(tree) is LetIn else tree
        if type(bindings) is AttributeSet:
            for position in bindings.empty_inherits:
                self.report(position, "this inherit names nothing")


class LegacyLet(Rule):
    """`let { …; body = e; }`, the form of before `let … in`."""

    identifier = "legacy-let"
    code = "W005"
    summary = "a let with braces and a body"
    advice = "write let … in"

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        if is_legacy_let(tree) and type(tree) is SelectAttribute:
            self.report(tree.set.position, "this is the old form of let")


class ManualInherit(Rule):
    """`a = a;` and `a = x.a;`, which `inherit` says without repeating the name. Not asked by default: a matter of taste."""

    identifier = "manual-inherit"
    summary = "an attribute that could be inherited"
    advice = "write inherit NAME; or inherit (SET) NAME;"
    by_default = False

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        bindings = tree.bindings if type(tree) is LetIn else tree
        if type(bindings) is not AttributeSet:
            return
        for name, attribute in bindings.attributes.items():
            value = attribute.value
            if attribute.kind != PLAIN or value is None:
                continue
            if type(value) is Variable and value.name == name and not bindings.recursive:
                self.report(attribute.position, f"this is inherit {name};")
            elif (
                type(value) is SelectAttribute
                and value.path == [name]
                and value.default is None
                and type(value.set) is Variable
                and not is_legacy_let(value)
            ):
                self.report(attribute.position, f"this is inherit ({value.set.name}) {name};")
