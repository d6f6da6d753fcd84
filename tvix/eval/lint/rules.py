"""All rules, in the order in which they are listed."""

from __future__ import annotations

from tvix.eval.lint.bindings import EmptyInherit, EmptyLet, LegacyLet, ManualInherit
from tvix.eval.lint.conditions import DeadCode, UselessBoolean
from tvix.eval.lint.derivations import ShadowedOutput
from tvix.eval.lint.literals import HashPadding, UrlLiteral
from tvix.eval.lint.shadowing import SelfReference, ShadowedGlobal, ShadowedVariable, UselessInherit
from tvix.eval.lint.unused import EmptyPattern, UnusedBinding, UnusedParameter, UnusedWith, UselessRec
from tvix.eval.lint.with_everything import WithEverything

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.lint.rule import Rule

RULES: tuple[type[Rule], ...] = (
    *(UnusedBinding, UnusedWith, UnusedParameter, ShadowedGlobal, ShadowedVariable, ShadowedOutput, SelfReference),
    *(DeadCode, UselessBoolean, UselessInherit, UselessRec, EmptyInherit, EmptyLet, EmptyPattern, LegacyLet, ManualInherit),
    *(WithEverything, UrlLiteral, HashPadding),
)
BY_IDENTIFIER = {rule.identifier: rule for rule in RULES}
