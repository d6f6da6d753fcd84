"""The tree that the parser makes: what C++ Nix's is, with nested and repeated attribute paths already merged.

`position` is a byte offset in the source. Trees are made once and not changed after the parser is done with them.
`[ a.b ]` keeps what the programmer wrote; what C++ Nix turns into calls of builtins (`-`, `*`, `/`, `<`, `<search>`) is an operator
here, and `printer` shows it as C++ Nix does.
"""

from __future__ import annotations

from tvix.eval.annotations import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    AttributeName: TypeAlias = "str | Expression"
    """A fixed name, or an expression for `${…}` and strings with interpolations."""


class Expression:
    """Anything that has a value. `start` is set where errors name it: of operands of `+`, where their text begins, which may be a
    parenthesis; of what is interpolated, where its `${` is.
    """

    position: int
    start: int = 0


@final
class Literal(Expression):
    """An integer, a float, or a string without interpolations, URIs among them."""

    def __init__(self, value: int | float | str, position: int) -> None:
        self.value = value
        self.position = position


@final
class Variable(Expression):
    """A name."""

    def __init__(self, name: str, position: int) -> None:
        self.name = name
        self.position = position


@final
class PathLiteral(Expression):
    """`./a`, `/a` or `~/a` as written."""

    def __init__(self, text: str, position: int) -> None:
        self.text = text
        self.position = position


@final
class SearchPath(Expression):
    """`<name>`, without the brackets."""

    def __init__(self, name: str, position: int) -> None:
        self.name = name
        self.position = position


@final
class Interpolated(Expression):
    """A string with interpolations: its text as `Literal`s, and expressions. `"${x}"` alone is one too."""

    def __init__(self, parts: list[Expression], position: int) -> None:
        self.parts = parts
        self.position = position


@final
class InterpolatedPath(Expression):
    """`./a/${x}`: the first part is a `PathLiteral`, whose trailing slash counts."""

    def __init__(self, parts: list[Expression], position: int) -> None:
        self.parts = parts
        self.position = position


@final
class Apply(Expression):
    """`f x y`."""

    def __init__(self, function: Expression, arguments: list[Expression], position: int) -> None:
        self.function = function
        self.arguments = arguments
        self.position = position


@final
class SelectAttribute(Expression):
    """`set.a.b`, and `or default` if there is one."""

    def __init__(self, set_: Expression, path: list[AttributeName], default: Expression | None, position: int) -> None:
        self.set = set_
        self.path = path
        self.default = default
        self.position = position


@final
class HasAttribute(Expression):
    """`set ? a.b`."""

    def __init__(self, set_: Expression, path: list[AttributeName], position: int) -> None:
        self.set = set_
        self.path = path
        self.position = position


PLAIN, INHERITED, INHERITED_FROM = 0, 1, 2


@final
class Attribute:
    """What a name is bound to. INHERITED is `inherit a;`, whose `value` is looked up in the scope around; INHERITED_FROM is
    `inherit (from) a;`, where `source` counts the set's `sources` and `value` is None.
    """

    def __init__(self, kind: int, value: Expression | None, source: int, position: int) -> None:
        self.kind = kind
        self.value = value
        self.source = source
        self.position = position


@final
class DynamicAttribute:
    """`${name} = value`."""

    def __init__(self, name: Expression, value: Expression, position: int) -> None:
        self.name = name
        self.value = value
        self.position = position


@final
class AttributeSet(Expression):
    """`{ … }` and `rec { … }`; also the bindings of a `let`. Attributes are in the order of the source."""

    def __init__(self, recursive: bool, position: int) -> None:
        self.recursive = recursive
        self.attributes: dict[str, Attribute] = {}
        self.dynamic: list[DynamicAttribute] = []
        self.sources: list[Expression] = []
        """The expressions of `inherit (…)`, each once."""
        self.position = position

    empty_inherits: tuple[int, ...] = ()
    """Where an `inherit` names nothing, which the linter warns of."""


@final
class LetIn(Expression):
    """`let … in body`."""

    def __init__(self, bindings: AttributeSet, body: Expression, position: int) -> None:
        self.bindings = bindings
        self.body = body
        self.position = position


@final
class Parameter:
    """One name of a set pattern."""

    def __init__(self, name: str, default: Expression | None, position: int) -> None:
        self.name = name
        self.default = default
        self.position = position


@final
class Function(Expression):
    """`argument: body`, `{ parameters, ... }: body`, or both with `@`. `parameters` is None for the first form, `argument` empty
    where there is none. `name` is what the function is bound to, for traces."""

    def __init__(self, argument: str, parameters: list[Parameter] | None, ellipsis: bool, body: Expression, position: int) -> None:
        self.argument = argument
        self.parameters = parameters
        self.ellipsis = ellipsis
        self.body = body
        self.name = ""
        self.position = position


@final
class ListExpression(Expression):
    """`[ … ]`."""

    def __init__(self, items: list[Expression], position: int) -> None:
        self.items = items
        self.position = position


@final
class Conditional(Expression):
    """`if … then … else …`."""

    def __init__(self, condition: Expression, yes: Expression, no: Expression, position: int) -> None:
        self.condition = condition
        self.yes = yes
        self.no = no
        self.position = position


@final
class Assertion(Expression):
    """`assert condition; body`."""

    def __init__(self, condition: Expression, body: Expression, position: int) -> None:
        self.condition = condition
        self.body = body
        self.position = position


@final
class WithScope(Expression):
    """`with scope; body`."""

    def __init__(self, scope: Expression, body: Expression, position: int) -> None:
        self.scope = scope
        self.body = body
        self.position = position


@final
class Unary(Expression):
    """`!x` and `-x`."""

    def __init__(self, operator: str, operand: Expression, position: int) -> None:
        self.operator = operator
        self.operand = operand
        self.position = position


@final
class Binary(Expression):
    """`left OPERATOR right`; the pipes are `Apply`s."""

    def __init__(self, operator: str, left: Expression, right: Expression, position: int) -> None:
        self.operator = operator
        self.left = left
        self.right = right
        self.position = position


@final
class CurrentPositionOf(Expression):
    """`__curPos`."""

    def __init__(self, position: int) -> None:
        self.position = position
