"""Names that nothing uses."""

from __future__ import annotations

from tvix.eval.lint.rule import Rule
from tvix.eval.lint.scopes import ARGUMENT, LET, PARAMETER, WHOLE, WITH
from tvix.eval.syntax import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.lint.scopes import Name, Scope


def _is_meant(name: Name) -> bool:
    return name.uses > 0 or name.text.startswith("_")


class UnusedBinding(Rule):
    """Of `let`, and the `@name` of a set pattern. What only its own value uses counts as used."""

    identifier = "unused-binding"
    code = "W003"
    summary = "a name is bound and never used"
    advice = "remove it, or let its name begin with an underscore"

    def scope_ends(self, scope: Scope) -> None:
        for name in scope.names.values():
            if not _is_meant(name) and name.kind == LET:
                self.report(name.position, f"'{name.text}' is bound here and never used")
            elif not _is_meant(name) and name.kind == WHOLE:
                self.report(name.position, f"the whole argument is called '{name.text}' here, a name that is never used")


class UnusedParameter(Rule):
    """Of a function. Not asked by default: often others decide what a function takes."""

    identifier = "unused-parameter"
    summary = "a function doesn't use what it is given"
    advice = "let its name begin with an underscore, or leave it to the ellipsis of a set pattern"
    by_default = False

    def scope_ends(self, scope: Scope) -> None:
        for name in scope.names.values():
            if not _is_meant(name) and name.kind == ARGUMENT:
                self.report(name.position, f"the argument '{name.text}' is never used")
            elif not _is_meant(name) and name.kind == PARAMETER and not _whole_is_used(scope):
                self.report(name.position, f"the parameter '{name.text}' is never used")


def _whole_is_used(scope: Scope) -> bool:
    return any(name.kind == WHOLE and name.uses for name in scope.names.values())


class UnusedWith(Rule):
    """A name that is bound in any way is never looked up in a `with`."""

    identifier = "unused-with"
    summary = "no name is looked up in a with"
    advice = "remove it"

    def scope_ends(self, scope: Scope) -> None:
        if scope.kind == WITH and not scope.searched:
            self.report(scope.tree.position, "no name is looked up in this with")


class UselessRec(Rule):
    """No attribute of the set refers to another one."""

    identifier = "useless-rec"
    summary = "a rec set whose attributes don't refer to each other"
    advice = "remove rec"

    def scope_ends(self, scope: Scope) -> None:
        is_rec = scope.kind == "attribute" and self.text.startswith("rec", scope.tree.position)
        if is_rec and "__overrides" not in scope.names and not any(name.uses for name in scope.names.values()):
            self.report(scope.tree.position, "no attribute of this rec set refers to another one")


class EmptyPattern(Rule):
    """`{ ... }: e` looks at nothing of its argument, but demands a set."""

    identifier = "empty-pattern"
    summary = "a set pattern without names"
    advice = "write _: unless the argument has to be a set"
    by_default = False

    def scope_begins(self, scope: Scope) -> None:
        tree = scope.tree
        if type(tree) is Function and tree.parameters == [] and tree.ellipsis and not tree.argument:
            self.report(tree.position, "this pattern takes nothing out of its argument")
