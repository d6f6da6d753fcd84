"""The scopes of a program as the linter sees them: names, what binds them, and how often they are used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.syntax import Attribute, Expression

LET: Final = "binding"
RECURSIVE: Final = "attribute"
ARGUMENT: Final = "argument"
PARAMETER: Final = "parameter"
WHOLE: Final = "name of the whole argument"
WITH: Final = "with"


class Name:
    """One name of a scope."""

    def __init__(self, text: str, position: int, kind: str, attribute: Attribute | None = None) -> None:
        self.text = text
        self.position = position
        self.kind = kind
        self.attribute = attribute
        self.uses = 0
        """How often it is used, by its own value too."""


class Scope:
    """A scope of `tree`, of one of the kinds above: those of functions are of the kind ARGUMENT. A `with` has no names."""

    def __init__(self, kind: str, tree: Expression, up: Scope | None) -> None:
        self.kind = kind
        self.tree = tree
        self.up = up
        self.names: dict[str, Name] = {}
        self.searched = False
        """Of a `with`: whether a name is looked up in it."""

    def add(self, name: Name) -> None:
        """One more name."""
        self.names[name.text] = name


def find(scope: Scope | None, text: str) -> Name | None:
    """What binds a name; None for builtins and what only a `with` can have."""
    while scope is not None:
        name = scope.names.get(text)
        if name is not None:
            return name
        scope = scope.up
    return None
