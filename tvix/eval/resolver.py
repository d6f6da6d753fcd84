"""From names to places: a syntax tree becomes `code`, where every variable is so many scopes up, at such a slot.

A scope is made at run time by every function, `let`, `rec` and `with`. A name bound by any of the first three is found there,
whatever `with` is in between; else it is a builtin that is in scope everywhere; else the `with`s around are searched; and without
any it is an error, before anything is evaluated.

What C++ Nix's parser turns into calls of `__sub`, `__mul`, `__div`, `__lessThan` and `__findFile` is an operator here, unless one
of those names is bound around it.
"""

from __future__ import annotations

import marshal

from tvix.eval import code
from tvix.eval.annotations import final
from tvix.eval.errors import EvalError, UndefinedVariable
from tvix.eval.syntax import (
    INHERITED,
    INHERITED_FROM,
    Apply,
    Assertion,
    AttributeSet,
    Binary,
    Conditional,
    CurrentPositionOf,
    Expression,
    Function,
    HasAttribute,
    Interpolated,
    InterpolatedPath,
    LetIn,
    ListExpression,
    Literal,
    PathLiteral,
    SearchPath,
    SelectAttribute,
    Unary,
    Variable,
    WithScope,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from tvix.eval.code import Code
    from tvix.eval.syntax import AttributeName

AS_ARGUMENT: Final = -1
"""The slot of a name that is its scope's single argument."""
_LAZY_FROM: Final = 6
"""Sets with so many attributes have their values read from the cache one by one."""


@final
class Scope:
    """The names of one scope. That of a `with` has none, but a position."""

    def __init__(self, slots: Mapping[str, int], up: Scope | None, with_position: int = -1) -> None:
        self.slots = slots
        self.up = up
        self.with_position = with_position


@final
class Resolver:
    """`arities` has the builtins that can be called directly, `globals_` the names in scope everywhere. With `lazy`, parts of the
    code are marshalled for themselves. `base_position` is that of the source's offset 0."""

    def __init__(self, globals_: Mapping[str, object], arities: Mapping[str, int], lazy: bool, base_position: int) -> None:
        self._globals = globals_
        self._arities = arities
        self._lazy = lazy
        self._base = base_position

    def resolve(self, tree: Expression, scope: Scope | None = None) -> Code:
        """The code of a tree. Raises `UndefinedVariable`."""
        return self._code(tree, scope)

    def _code(self, tree: Expression, scope: Scope | None) -> tuple[Any, ...]:
        if type(tree) is Variable:
            return self._variable(tree.name, scope, tree.position)
        if type(tree) is Literal:
            return (code.CONSTANT, tree.value)
        if type(tree) is Apply:
            return self._apply(tree, scope)
        if type(tree) is SelectAttribute:
            return self._select(tree, scope)
        if type(tree) is AttributeSet:
            return self._set(tree, scope)
        if type(tree) is Interpolated:
            return (code.INTERPOLATION, self._all(tree.parts, scope), _starts(tree.parts), tree.position)
        if type(tree) is Function:
            return self._function(tree, scope)
        if type(tree) is Binary:
            return self._binary(tree, scope)
        if type(tree) is ListExpression:
            return (code.LIST, self._all(tree.items, scope))
        if type(tree) is LetIn:
            return self._let(tree, scope)
        if type(tree) is Conditional:
            parts = self._code(tree.condition, scope), self._code(tree.yes, scope), self._code(tree.no, scope)
            return (code.IF, *parts, tree.position)
        if type(tree) is WithScope:
            inner = Scope({}, scope, tree.position)
            return (code.WITH, self._code(tree.scope, scope), self._code(tree.body, inner), tree.position)
        return self._seldom(tree, scope)

    def _seldom(self, tree: Expression, scope: Scope | None) -> tuple[Any, ...]:
        if type(tree) is PathLiteral:
            return (code.PATH, tree.text)
        if type(tree) is HasAttribute:
            return (code.HAS, self._code(tree.set, scope), self._names(tree.path, scope), tree.position)
        if type(tree) is Unary:
            return self._unary(tree, scope)
        if type(tree) is Assertion:
            return (code.ASSERT, self._code(tree.condition, scope), self._code(tree.body, scope), tree.position)
        if type(tree) is InterpolatedPath:
            base = tree.parts[0]
            assert type(base) is PathLiteral
            parts = tree.parts[1:]
            return (code.PATH_INTERPOLATION, base.text, self._all(parts, scope), _starts(parts), tree.position)
        if type(tree) is SearchPath:
            find = Variable("__findFile", tree.position)
            search = Variable("__nixPath", tree.position)
            return self._apply(Apply(find, [search, Literal(tree.name, tree.position)], tree.position), scope)
        if type(tree) is CurrentPositionOf:
            return (code.CURRENT_POSITION, tree.position)
        raise EvalError(f"an expression that nobody resolves: {type(tree).__name__}")

    def _all(self, trees: list[Expression], scope: Scope | None) -> tuple[Any, ...]:
        return tuple([self._code(tree, scope) for tree in trees])

    def _variable(self, name: str, scope: Scope | None, position: int, outwards: int = 0) -> tuple[Any, ...]:
        scopes = outwards
        withs: list[int] = []
        here = scope
        while here is not None:
            slot = here.slots.get(name)
            if slot is not None:
                return (code.ARGUMENT, scopes, position) if slot == AS_ARGUMENT else (code.SLOT, scopes, slot, position)
            if here.with_position >= 0:
                withs += (scopes, here.with_position)
            scopes += 1
            here = here.up
        if name in self._globals:
            return (code.GLOBAL, name, position)
        if withs:
            return (code.WITH_VARIABLE, name, tuple(withs), position)
        raise UndefinedVariable(f"undefined variable '{name}'", self._base + position)

    def _is_free(self, name: str, scope: Scope | None) -> bool:
        """Whether no scope around binds the name."""
        while scope is not None:
            if name in scope.slots:
                return False
            scope = scope.up
        return True

    def _builtin(self, function: Expression, scope: Scope | None) -> str:
        """The builtin that an expression surely is: `map`, `__add` or `builtins.head`; else nothing."""
        if type(function) is Variable:
            if function.name in self._arities and self._is_free(function.name, scope):
                return function.name
        elif (
            type(function) is SelectAttribute
            and type(function.set) is Variable
            and function.set.name == "builtins"
            and len(function.path) == 1
            and function.default is None
        ):
            name = function.path[0]
            if isinstance(name, str) and "__" + name in self._arities and self._is_free("builtins", scope):
                return "__" + name
        return ""

    def _apply(self, tree: Apply, scope: Scope | None) -> tuple[Any, ...]:
        name = self._builtin(tree.function, scope)
        function = self._code(tree.function, scope)  # its unbound variables are complained of first
        arguments = self._all(tree.arguments, scope)
        if name:
            arity = self._arities[name]
            if len(arguments) == arity:
                return (code.BUILTIN, name, arguments, tree.position)
            if len(arguments) > arity:
                called = (code.BUILTIN, name, arguments[:arity], tree.position)
                return (code.APPLY, called, arguments[arity:], tree.position)
        return (code.APPLY, function, arguments, tree.position)

    def _names(self, path: list[AttributeName], scope: Scope | None) -> tuple[Any, ...]:
        return tuple([name if isinstance(name, str) else self._code(name, scope) for name in path])

    def _select(self, tree: SelectAttribute, scope: Scope | None) -> tuple[Any, ...]:
        result = self._code(tree.set, scope)
        if tree.default is not None:
            return (code.SELECT_OR, result, self._names(tree.path, scope), self._code(tree.default, scope), tree.position)
        if len(tree.path) == 1 and isinstance(tree.path[0], str):
            return (code.SELECT, result, tree.path[0], tree.position)
        return (code.SELECT_PATH, result, self._names(tree.path, scope), tree.position)

    def _unary(self, tree: Unary, scope: Scope | None) -> tuple[Any, ...]:
        if tree.operator == "!":
            return (code.NOT, self._code(tree.operand, scope), tree.position)
        if not self._is_free("__sub", scope):
            zero = Literal(0, tree.position)
            return self._apply(Apply(Variable("__sub", tree.position), [zero, tree.operand], tree.position), scope)
        return (code.NEGATE, self._code(tree.operand, scope), tree.position)

    def _binary(self, tree: Binary, scope: Scope | None) -> tuple[Any, ...]:
        operator = tree.operator
        name = _BEHIND.get(operator)
        if name is not None and not self._is_free(name, scope):
            return self._overridden(tree, name, scope)
        left, right = self._code(tree.left, scope), self._code(tree.right, scope)
        if operator == "+":
            return (code.ADD, left, right, tree.position, tree.left.start, tree.right.start)
        return (code.BINARY[operator], left, right, tree.position)

    def _overridden(self, tree: Binary, name: str, scope: Scope | None) -> tuple[Any, ...]:
        """An operator whose builtin is bound to something else here."""
        swapped = tree.operator in (">", "<=")
        arguments = [tree.right, tree.left] if swapped else [tree.left, tree.right]
        called = self._apply(Apply(Variable(name, tree.position), arguments, tree.position), scope)
        return (code.NOT, called, tree.position) if tree.operator in (">=", "<=") else called

    def _function(self, tree: Function, scope: Scope | None) -> tuple[Any, ...]:
        if tree.parameters is None:
            whole = self._code(tree.body, Scope({tree.argument: AS_ARGUMENT}, scope))
            return (code.LAMBDA, tree.argument, whole, tree.position, tree.name)
        names = [parameter.name for parameter in tree.parameters]
        slots = {name: index for index, name in enumerate(names)}
        if tree.argument:
            slots[tree.argument] = len(names)
        inner = Scope(slots, scope)
        defaults = [None if parameter.default is None else self._code(parameter.default, inner) for parameter in tree.parameters]
        body: Code = self._part(self._code(tree.body, inner), scope is not None)
        positions = tuple([parameter.position for parameter in tree.parameters])
        whole_set = tree.argument or ""
        return (code.FORMALS, tuple(names), tuple(defaults), positions, tree.ellipsis, whole_set, body, tree.position, tree.name)

    def _let(self, tree: LetIn, scope: Scope | None) -> tuple[Any, ...]:
        bindings = tree.bindings
        hidden = _hidden_sources(bindings)
        if len(bindings.attributes) == 1 and not hidden:
            inner = Scope(dict.fromkeys(bindings.attributes, AS_ARGUMENT), scope)
        else:
            inner = Scope(_slots(bindings, hidden), scope)
        values = self._bindings(bindings, inner, scope, recursive=True)[1::3]
        values += [self._code(source, inner) for source in hidden]
        return (code.LET, tuple(values), self._code(tree.body, inner))

    def _set(self, tree: AttributeSet, scope: Scope | None) -> tuple[Any, ...]:
        hidden = _hidden_sources(tree)
        if tree.recursive:
            inner = Scope(_slots(tree, hidden), scope)
            bindings = self._bindings(tree, inner, scope, recursive=True)
            overrides = list(tree.attributes).index("__overrides") if "__overrides" in tree.attributes else -1
            behind = self._all(hidden, inner)
            return (code.RECURSIVE, tuple(bindings), self._dynamic(tree, inner), tree.position, overrides, behind)
        if not hidden:
            bindings = self._bindings(tree, scope, scope, recursive=False)
            return (code.SET, tuple(bindings), self._dynamic(tree, scope), tree.position)
        scope = Scope({_source_name(index): index for index in range(len(hidden))}, scope)
        sources = self._all(hidden, scope)
        bindings = self._bindings(tree, scope, scope, recursive=False)
        return (code.INHERIT_SOURCES, sources, (code.SET, tuple(bindings), self._dynamic(tree, scope), tree.position))

    def _dynamic(self, tree: AttributeSet, scope: Scope | None) -> tuple[Any, ...]:
        return tuple([(self._code(entry.name, scope), self._code(entry.value, scope), entry.position) for entry in tree.dynamic])

    def _bindings(self, tree: AttributeSet, scope: Scope | None, around: Scope | None, *, recursive: bool) -> list[Any]:
        """Name, code, position, name, … of the fixed attributes. `around` is the scope in which a plain `inherit` looks up."""
        result: list[Any] = []
        large = len(tree.attributes) >= _LAZY_FROM
        sources = self._sources(tree, scope)
        for name, attribute in tree.attributes.items():
            value: Any
            if attribute.kind == INHERITED_FROM:
                value = (code.SELECT, sources[attribute.source], name, attribute.position)
            elif attribute.kind == INHERITED:
                value = self._variable(name, around, attribute.position, 1 if recursive else 0)
            else:
                assert attribute.value is not None
                value = self._code(attribute.value, scope)
                if recursive and (value[:2] == (code.ARGUMENT, 0) or (value[:2] == (code.SLOT, 0) and value[2] * 3 >= len(result))):
                    value = (code.SIBLING, value)
                value = self._part(value, large)
            result += (name, value, attribute.position)
        return result

    def _sources(self, tree: AttributeSet, scope: Scope | None) -> list[tuple[Any, ...]]:
        """What `inherit (…)` selects from: a variable, or the hidden one that keeps the value of an expression."""
        result = []
        hidden = 0
        for source in tree.sources:
            if type(source) is Variable:
                result.append(self._code(source, scope))
            else:
                result.append(self._variable(_source_name(hidden), scope, source.position))
                hidden += 1
        return result

    def _part(self, piece: tuple[Any, ...], worthwhile: bool) -> Code:
        """A piece that may be read from the cache later than what is around it."""
        if not self._lazy or not worthwhile or piece[0] <= code.LAST_TRIVIAL:
            return piece
        return marshal.dumps(piece)


def _starts(parts: list[Expression]) -> tuple[int, ...]:
    """Where what is interpolated begins; text can't fail."""
    return tuple([part.start for part in parts])


def _hidden_sources(tree: AttributeSet) -> list[Expression]:
    """The expressions of `inherit (…)` that are to be evaluated once for all names."""
    return [source for source in tree.sources if type(source) is not Variable]


def _source_name(index: int) -> str:
    """A name that no program can write."""
    return f"\0{index}"


def _slots(tree: AttributeSet, hidden: list[Expression]) -> dict[str, int]:
    slots = {name: index for index, name in enumerate(tree.attributes)}
    for index in range(len(hidden)):
        slots[_source_name(index)] = len(tree.attributes) + index
    return slots


_BEHIND: Final[dict[str, str]] = {
    "-": "__sub",
    "*": "__mul",
    "/": "__div",
    "<": "__lessThan",
    ">": "__lessThan",
    "<=": "__lessThan",
    ">=": "__lessThan",
}
"""The builtin that C++ Nix calls for an operator."""
