"""Takes rules through a tree, once, with the scopes around every expression."""

from __future__ import annotations

from tvix.eval.lint.scopes import ARGUMENT, LET, PARAMETER, RECURSIVE, WHOLE, WITH, Name, Scope, find
from tvix.eval.syntax import (
    INHERITED,
    INHERITED_FROM,
    Apply,
    Assertion,
    AttributeSet,
    Binary,
    Conditional,
    Expression,
    Function,
    HasAttribute,
    Interpolated,
    InterpolatedPath,
    LetIn,
    ListExpression,
    SearchPath,
    SelectAttribute,
    Unary,
    Variable,
    WithScope,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from tvix.eval.lint.rule import Rule
    from tvix.eval.syntax import AttributeName


class Walk:
    """`globals_` are the names that are bound everywhere."""

    def __init__(self, rules: Sequence[Rule], globals_: Container[str]) -> None:
        self._rules = rules
        self._globals = globals_

    def go(self, tree: Expression, scope: Scope | None = None) -> None:
        """Show a tree and all below it."""
        for rule in self._rules:
            rule.expression(tree, scope)
        if type(tree) is Variable:
            self._use(tree.name, scope)
        elif type(tree) is AttributeSet:
            self._set(tree, scope)
        elif type(tree) is LetIn:
            inner = self._bindings(tree.bindings, LET, tree, scope)
            self.go(tree.body, inner)
            self._end(inner)
        elif type(tree) is Function:
            self._function(tree, scope)
        elif type(tree) is WithScope:
            self.go(tree.scope, scope)
            inner = self._begin(Scope(WITH, tree, scope))
            self.go(tree.body, inner)
            self._end(inner)
        elif type(tree) is SearchPath:
            self._use("__findFile", scope)
            self._use("__nixPath", scope)
        else:
            if type(tree) is Binary and tree.operator in _BEHIND:
                self._use(_BEHIND[tree.operator], scope)
            for part in _parts(tree):
                self.go(part, scope)

    def _use(self, text: str, scope: Scope | None) -> None:
        name = find(scope, text)
        if name is not None:
            name.uses += 1
        elif text not in self._globals:
            while scope is not None:
                scope.searched = scope.searched or scope.kind == WITH
                scope = scope.up

    def _begin(self, scope: Scope) -> Scope:
        for rule in self._rules:
            rule.scope_begins(scope)
        return scope

    def _end(self, scope: Scope) -> None:
        for rule in self._rules:
            rule.scope_ends(scope)

    def _set(self, tree: AttributeSet, scope: Scope | None) -> None:
        if tree.recursive:
            self._end(self._bindings(tree, RECURSIVE, tree, scope))
        else:
            self._values(tree, scope, scope)

    def _bindings(self, bindings: AttributeSet, kind: str, tree: Expression, around: Scope | None) -> Scope:
        """The scope that bindings make, after all their values."""
        scope = Scope(kind, tree, around)
        for text, attribute in bindings.attributes.items():
            scope.add(Name(text, attribute.position, kind, attribute))
        self._begin(scope)
        self._values(bindings, scope, around)
        return scope

    def _values(self, bindings: AttributeSet, scope: Scope | None, around: Scope | None) -> None:
        for source in bindings.sources:
            self.go(source, scope)
        for text, attribute in bindings.attributes.items():
            if attribute.kind == INHERITED:
                self._use(text, around)
            elif attribute.kind != INHERITED_FROM and attribute.value is not None:
                self.go(attribute.value, scope)
        for entry in bindings.dynamic:
            self.go(entry.name, scope)
            self.go(entry.value, scope)

    def _function(self, tree: Function, scope: Scope | None) -> None:
        inner = Scope(ARGUMENT, tree, scope)
        if tree.parameters is None:
            inner.add(Name(tree.argument, tree.position, ARGUMENT))
        else:
            for parameter in tree.parameters:
                inner.add(Name(parameter.name, parameter.position, PARAMETER))
            if tree.argument:
                inner.add(Name(tree.argument, tree.position, WHOLE))
        self._begin(inner)
        for parameter in tree.parameters or ():
            if parameter.default is not None:
                self.go(parameter.default, inner)
        self.go(tree.body, inner)
        self._end(inner)


def _computed(path: list[AttributeName]) -> list[Expression]:
    return [name for name in path if not isinstance(name, str)]


def _parts(tree: Expression) -> list[Expression]:
    """The parts of an expression that makes no scope."""
    if type(tree) is Apply:
        return [tree.function, *tree.arguments]
    if type(tree) is SelectAttribute:
        default = [] if tree.default is None else [tree.default]
        return [tree.set, *_computed(tree.path), *default]
    if type(tree) is HasAttribute:
        return [tree.set, *_computed(tree.path)]
    if type(tree) is Interpolated or type(tree) is InterpolatedPath:
        return tree.parts
    if type(tree) is ListExpression:
        return tree.items
    if type(tree) is Conditional:
        return [tree.condition, tree.yes, tree.no]
    if type(tree) is Assertion:
        return [tree.condition, tree.body]
    if type(tree) is Unary:
        return [tree.operand]
    if type(tree) is Binary:
        return [tree.left, tree.right]
    return []


_BEHIND = {"-": "__sub", "*": "__mul", "/": "__div", "<": "__lessThan", ">": "__lessThan", "<=": "__lessThan", ">=": "__lessThan"}
"""What an operator calls where that name is bound."""
