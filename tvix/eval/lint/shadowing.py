"""Names that hide others."""

from __future__ import annotations

from tvix.eval.lint.rule import Rule
from tvix.eval.lint.scopes import LET, RECURSIVE, find
from tvix.eval.syntax import INHERITED, INHERITED_FROM, Variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.lint.scopes import Name, Scope

_GLOBALS = frozenset(
    (
        *("true", "false", "null", "builtins", "abort", "baseNameOf", "break", "derivation", "derivationStrict", "dirOf"),
        *("fetchGit", "fetchMercurial", "fetchTarball", "fetchTree", "fromTOML", "import", "isNull", "map", "placeholder"),
        *("removeAttrs", "scopedImport", "throw", "toString"),
    )
)
"""What is in scope everywhere, without the names that begin with underscores: those are hidden on purpose."""


class ShadowedGlobal(Rule):
    """`let map = …`, and worse, `let true = …`. What is inherited from somewhere is meant to be so."""

    identifier = "shadowed-global"
    code = "W004"
    summary = "a name hides a builtin that is in scope everywhere"
    advice = "give it another name"

    def scope_begins(self, scope: Scope) -> None:
        for name in scope.names.values():
            if name.text in _GLOBALS and not _is_inherited(name) and name.kind != RECURSIVE:
                self.report(name.position, f"'{name.text}' hides the builtin of that name")


class ShadowedVariable(Rule):
    """A name that an outer scope binds too. Not asked by default: `self: super:` and `callPackage` live by it."""

    identifier = "shadowed-variable"
    summary = "a name hides one of an outer scope"
    advice = "give one of them another name"
    by_default = False

    def scope_begins(self, scope: Scope) -> None:
        for name in scope.names.values():
            if find(scope.up, name.text) is not None and not _is_inherited(name) and not name.text.startswith("_"):
                self.report(name.position, f"'{name.text}' hides a name of an outer scope")


class SelfReference(Rule):
    """`let x = x;`: what it is after is most likely `inherit x;`."""

    identifier = "self-reference"
    summary = "a name is bound to itself, which never has a value"
    advice = "inherit the name from the scope around, or refer to something else"

    def scope_begins(self, scope: Scope) -> None:
        for name in scope.names.values():
            value = None if name.attribute is None else name.attribute.value
            if name.kind in (LET, RECURSIVE) and not _is_inherited(name) and type(value) is Variable and value.name == name.text:
                self.report(name.position, f"'{name.text}' is bound to itself: infinite recursion as soon as it is needed")


class UselessInherit(Rule):
    """`let inherit x; in …` where `x` is in scope already. One that takes `x` out of a `with` does something."""

    identifier = "useless-inherit"
    code = "W002"
    summary = "a let inherits what is in scope already"
    advice = "remove it"

    def scope_begins(self, scope: Scope) -> None:
        if scope.kind != LET:
            return
        for name in scope.names.values():
            inherited = name.attribute is not None and name.attribute.kind == INHERITED
            if inherited and (find(scope.up, name.text) is not None or name.text in _GLOBALS):
                self.report(name.position, f"'{name.text}' is in scope already")


def _is_inherited(name: Name) -> bool:
    return name.attribute is not None and name.attribute.kind in (INHERITED, INHERITED_FROM)
