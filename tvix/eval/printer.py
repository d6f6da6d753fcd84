"""Trees as `nix-instantiate --parse` prints them: one line, everything in parentheses, attributes sorted, paths absolute.

Operators that C++ Nix's parser turns into calls of builtins are shown as those calls: `a < b` is `(__lessThan a b)`.
"""

from __future__ import annotations

from tvix.eval.paths import normal
from tvix.eval.syntax import (
    INHERITED,
    INHERITED_FROM,
    PLAIN,
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
from tvix.eval.tokens import KEYWORDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.syntax import AttributeName


def canonical(tree: Expression, base: str = "/", home: str = "/") -> str:
    """The tree in one line, without a newline. Relative paths start from `base`, and `~` is `home`."""
    printer = _Printer(base, home)
    printer.show(tree)
    return "".join(printer.out)


def path_text(path: list[AttributeName]) -> str:
    """An attribute path as it is shown: `a."b c"."${d}"`."""
    printer = _Printer("/", "/")
    printer.path(path)
    return "".join(printer.out)


def name_text(name: str) -> str:
    """A name of an attribute or parameter, in quotes where it needs them."""
    if name and name not in _QUOTED and not (set(name) - _NAME) and name[0] not in _NOT_FIRST:
        return name
    return string_text(name)


def string_text(text: str) -> str:
    """A string literal."""
    if text.isalnum():
        return f'"{text}"'
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"), ("${", "\\${")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def number_text(value: object) -> str:
    """An int or a float as it is printed: six digits of a float. Typed `float`, compiled code would turn ints into floats."""
    return f"{value:g}" if isinstance(value, float) else str(value)


class _Printer:
    def __init__(self, base: str, home: str) -> None:
        self.out: list[str] = []
        self._base = base
        self._home = home

    def show(self, tree: Expression) -> None:
        if isinstance(tree, Variable):
            self.out.append(name_text(tree.name))
        elif isinstance(tree, Literal):
            self.out.append(string_text(tree.value) if isinstance(tree.value, str) else number_text(tree.value))
        elif isinstance(tree, (PathLiteral, Interpolated, InterpolatedPath, CurrentPositionOf)):
            self._text(tree)
        elif isinstance(tree, (Apply, Unary, Binary, SearchPath)):
            self._call(tree)
        elif isinstance(tree, (SelectAttribute, HasAttribute)):
            self._selection(tree)
        elif isinstance(tree, AttributeSet):
            self.out.append("rec { " if tree.recursive else "{ ")
            self._bindings(tree)
            self.out.append("}")
        elif isinstance(tree, ListExpression):
            self.out.append("[ ")
            for item in tree.items:
                self._around("(", item, ") ")
            self.out.append("]")
        elif isinstance(tree, Function):
            self._function(tree)
        else:
            self._control(tree)

    def path(self, path: list[AttributeName]) -> None:
        for index, name in enumerate(path):
            if index:
                self.out.append(".")
            if isinstance(name, str):
                self.out.append(name_text(name))
            else:
                self._around('"${', name, '}"')

    def _around(self, before: str, tree: Expression, after: str) -> None:
        self.out.append(before)
        self.show(tree)
        self.out.append(after)

    def _control(self, tree: Expression) -> None:
        if isinstance(tree, LetIn):
            self.out.append("(let ")
            self._bindings(tree.bindings)
            self._around("in ", tree.body, ")")
        elif isinstance(tree, Conditional):
            self._around("(if ", tree.condition, " then ")
            self._around("", tree.yes, " else ")
            self._around("", tree.no, ")")
        elif isinstance(tree, Assertion):
            self._around("assert ", tree.condition, "; ")
            self.show(tree.body)
        elif isinstance(tree, WithScope):
            self._around("(with ", tree.scope, "; ")
            self._around("", tree.body, ")")

    def _text(self, tree: Expression) -> None:
        if isinstance(tree, PathLiteral):
            self.out.append(self._absolute(tree.text))
        elif isinstance(tree, CurrentPositionOf):
            self.out.append("__curPos")
        elif isinstance(tree, (Interpolated, InterpolatedPath)):
            self.out.append("(")
            for index, part in enumerate(tree.parts):
                if index:
                    self.out.append(" + ")
                if isinstance(part, PathLiteral):
                    absolute = self._absolute(part.text)
                    self.out.append(absolute + "/" if part.text[-1] == "/" and absolute[-1] != "/" else absolute)
                else:
                    self.show(part)
            self.out.append(")")

    def _absolute(self, text: str) -> str:
        if text[0] == "~":
            return self._home + text[1:]
        return normal(text if text[0] == "/" else f"{self._base}/{text}")

    def _call(self, tree: Expression) -> None:
        """A call of a function or of what is behind an operator, with all arguments that it and its result are applied to."""
        calls = [tree]
        while isinstance(tree, Apply):
            tree = tree.function
            calls.append(tree)
        calls.pop()
        if len(calls) == 0 or _is_call(tree):
            self._operator(tree)
        else:
            self._around("(", tree, "")
        for call in reversed(calls):
            if isinstance(call, Apply):
                for argument in call.arguments:
                    self._around(" ", argument, "")
        self.out.append(")")

    def _operator(self, tree: Expression) -> None:
        """All but the closing parenthesis."""
        if isinstance(tree, SearchPath):
            self.out.append(f"(__findFile __nixPath {string_text(tree.name)}")
        elif isinstance(tree, Unary):
            self._around("(__sub 0 " if tree.operator == "-" else "(! ", tree.operand, "")
        elif isinstance(tree, Binary):
            operator = tree.operator
            behind = _BEHIND.get(operator)
            if behind is None:
                self._around("(", tree.left, f" {operator} ")
                self.show(tree.right)
                return
            left, right = (tree.right, tree.left) if operator in (">", "<=") else (tree.left, tree.right)
            self._around("(! (" if operator in _NEGATED else "(", Variable(behind, 0), " ")
            self._around("", left, " ")
            self._around("", right, ")" if operator in _NEGATED else "")

    def _selection(self, tree: SelectAttribute | HasAttribute) -> None:
        if isinstance(tree, HasAttribute):
            self._around("((", tree.set, ") ? ")
            self.path(tree.path)
            self.out.append(")")
            return
        self._around("(", tree.set, ").")
        self.path(tree.path)
        if tree.default is not None:
            self._around(" or (", tree.default, ")")

    def _function(self, tree: Function) -> None:
        self.out.append("(")
        if tree.parameters is not None:
            self.out.append("{ ")
            for index, parameter in enumerate(sorted(tree.parameters, key=lambda parameter: parameter.name)):
                self.out.append(", " + name_text(parameter.name) if index else name_text(parameter.name))
                if parameter.default is not None:
                    self._around(" ? ", parameter.default, "")
            if tree.ellipsis:
                self.out.append(", ..." if tree.parameters else "...")
            self.out.append(" } @ " if tree.argument else " }")
        if tree.argument:
            self.out.append(name_text(tree.argument))
        self._around(": ", tree.body, ")")

    def _bindings(self, tree: AttributeSet) -> None:
        attributes = sorted(tree.attributes.items(), key=lambda item: item[0])
        inherited = [name for name, attribute in attributes if attribute.kind == INHERITED]
        if inherited:
            self.out.append(f"inherit {' '.join(map(name_text, inherited))}; ")
        for index, source in enumerate(tree.sources):
            names = [name for name, attribute in attributes if attribute.kind == INHERITED_FROM and attribute.source == index]
            if names:
                self._around("inherit (", source, f") {' '.join(map(name_text, names))}; ")
        for name, attribute in attributes:
            if attribute.kind == PLAIN and attribute.value is not None:
                self._around(name_text(name) + " = ", attribute.value, "; ")
        for entry in tree.dynamic:
            self._around('"${', entry.name, '}" = ')
            self._around("", entry.value, "; ")


def _is_call(tree: Expression) -> bool:
    """Whether C++ Nix's parser makes a call of an operator, to which further arguments are added."""
    if isinstance(tree, Binary):
        return tree.operator in _BEHIND and tree.operator not in _NEGATED
    return isinstance(tree, SearchPath) or (isinstance(tree, Unary) and tree.operator == "-")


_NEGATED: Final = ("<=", ">=")
_BEHIND: Final[dict[str, str]] = {
    "-": "__sub",
    "*": "__mul",
    "/": "__div",
    "<": "__lessThan",
    ">": "__lessThan",
    "<=": "__lessThan",
    ">=": "__lessThan",
}
_QUOTED: Final[frozenset[str]] = frozenset(KEYWORDS) - {"or"}
_NOT_FIRST: Final[frozenset[str]] = frozenset("0123456789'-")
_NAME: Final[frozenset[str]] = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_'-")
