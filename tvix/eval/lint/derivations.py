"""Derivations whose attributes get in each other's way."""

from __future__ import annotations

from tvix.eval.lint.rule import Rule
from tvix.eval.lint.scopes import find
from tvix.eval.syntax import Apply, AttributeSet, ListExpression, Literal, Variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.lint.scopes import Scope
    from tvix.eval.syntax import Expression


class ShadowedOutput(Rule):
    """`derivation { outputs = [ "dev" ]; dev = …; }`: the environment variable of the output hides the attribute."""

    identifier = "shadowed-output"
    code = "W011"
    summary = "an attribute of a derivation with the name of one of its outputs"
    advice = "give it another name: the builder sees the path of the output"

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        if type(tree) is not Apply or type(tree.function) is not Variable or tree.function.name not in _MAKERS:
            return
        argument = tree.arguments[0]
        if find(scope, tree.function.name) is not None or type(argument) is not AttributeSet:
            return
        for output in _outputs(argument):
            attribute = argument.attributes.get(output)
            if attribute is not None:
                self.report(attribute.position, f"the output '{output}' hides this attribute from the builder")


_MAKERS = ("derivation", "derivationStrict")


def _outputs(attributes: AttributeSet) -> list[str]:
    named = attributes.attributes.get("outputs")
    if named is None:
        return ["out"]
    if type(named.value) is not ListExpression:
        return []
    return [item.value for item in named.value.items if type(item) is Literal and isinstance(item.value, str)]
