"""A `with` around everything."""

from __future__ import annotations

from tvix.eval.lint.rule import Rule
from tvix.eval.syntax import Function, LetIn, WithScope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.lint.scopes import Scope
    from tvix.eval.syntax import Expression


class WithEverything(Rule):
    """`with x;` around a whole file, or around all that its outermost functions and `let` are for: nobody can tell where a name
    comes from, and what is misspelt fails when it is evaluated, not when it is read.
    """

    identifier = "with-everything"
    summary = "a with around a whole file"
    advice = "name what is needed: inherit (x) a b;"

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._whole: Expression | None = None

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        if self._whole is None:
            self._whole = tree
        if type(tree) is not WithScope:
            return
        inner: Expression = tree
        while scope is not None:
            around = scope.tree
            if (type(around) is not Function and type(around) is not LetIn) or around.body is not inner:
                return
            inner, scope = around, scope.up
        if inner is self._whole:
            self.report(tree.position, "this with is around the whole file")
