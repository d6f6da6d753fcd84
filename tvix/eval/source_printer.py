"""Trees as source that a person can read: two spaces a level, no parentheses but where they are needed, paths as they were written.

What it prints parses back to the same tree, but for offsets and the order of attributes that are inherited. Indented strings become
strings in double quotes; where the parser divides one at an escape, the pieces are interpolated. Comments aren't in trees, so they
are lost.
"""

from __future__ import annotations

from tvix.eval.characters import in_path
from tvix.eval.printer import name_text, string_text
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.syntax import AttributeName

# How tightly expressions bind. Those of operators are the parser's levels.
_OPEN: Final = 0
"""Functions, `let`, `if` and the like: they extend as far as they can."""
_NOT: Final = 7
_IN_NOT: Final = 8
_HAS: Final = 11
_NEGATE: Final = 12
_APPLY: Final = 13
_SELECT: Final = 14
_PRIMARY: Final = 15
_LEVELS: Final[dict[str, int]] = {
    "->": 1,
    "||": 2,
    "&&": 3,
    "==": 4,
    "!=": 4,
    "<": 5,
    ">": 5,
    "<=": 5,
    ">=": 5,
    "//": 6,
    "+": 8,
    "-": 8,
    "*": 9,
    "/": 9,
    "++": 10,
}
_RIGHT: Final[tuple[str, ...]] = ("->", "//", "++")
_ONE_SIDED: Final = (4, 5)


def source(tree: Expression) -> str:
    """The tree as lines, the last one ended too."""
    printer = _Printer()
    printer.show(tree, _OPEN)
    return "".join(printer.out) + "\n"


class _Printer:
    def __init__(self) -> None:
        self.out: list[str] = []
        self._indent = 0

    def show(self, tree: Expression, level: int) -> None:
        """In parentheses if it binds less tightly than `level`."""
        if _level(tree) < level:  # or where the caller demands more than there is
            self.out.append("(")
            self.show(tree, _OPEN)
            self.out.append(")")
        elif isinstance(tree, (Variable, Literal, PathLiteral, SearchPath, Interpolated, InterpolatedPath, CurrentPositionOf)):
            self._atom(tree)
        elif isinstance(tree, (Unary, Binary, Apply, SelectAttribute, HasAttribute)):
            self._operation(tree)
        elif isinstance(tree, ListExpression):
            self._list(tree)
        elif isinstance(tree, AttributeSet):
            self._set(tree)
        else:
            self._open(tree)

    def _line(self) -> None:
        self.out.append("\n" + "  " * self._indent)

    def _atom(self, tree: Expression) -> None:
        if isinstance(tree, Variable):
            self.out.append(tree.name)
        elif isinstance(tree, Literal):
            self.out.append(_literal(tree.value))
        elif isinstance(tree, PathLiteral):
            self.out.append(tree.text)
        elif isinstance(tree, SearchPath):
            self.out.append(f"<{tree.name}>")
        elif isinstance(tree, Interpolated):
            self.out.append('"')
            self._parts(tree.parts, in_path=False)
            self.out.append('"')
        elif isinstance(tree, InterpolatedPath):
            first = tree.parts[0]
            self.out.append(first.text if isinstance(first, PathLiteral) else "")
            self._parts(tree.parts[1:], in_path=True)
        else:
            self.out.append("__curPos")

    def _parts(self, parts: list[Expression], *, in_path: bool) -> None:
        """Text is written as such where the parser makes the same part of it again, and else interpolated."""
        after_text = in_path
        for part in parts:
            value = part.value if isinstance(part, Literal) else None
            if not after_text and isinstance(value, str) and len(parts) > 1 and (_is_path(value) if in_path else value):
                self.out.append(value if in_path else _quoted(value))
                after_text = True
            else:
                self._interpolation(part)
                after_text = False

    def _interpolation(self, tree: Expression) -> None:
        self.out.append("${")
        self.show(tree, _OPEN)
        self.out.append("}")

    def _operation(self, tree: Unary | Binary | Apply | SelectAttribute | HasAttribute) -> None:
        if isinstance(tree, Binary):
            level = _LEVELS[tree.operator]
            self.show(tree.left, level if level not in _ONE_SIDED and tree.operator not in _RIGHT else level + 1)
            self.out.append(f" {tree.operator} ")
            self.show(tree.right, level if tree.operator in _RIGHT else level + 1)
        elif isinstance(tree, Unary):
            self.out.append(tree.operator)
            operand = tree.operand
            if tree.operator == "!":
                self.show(operand, _NOT if isinstance(operand, Unary) else _IN_NOT)
            else:
                begin = len(self.out)
                self.show(operand, _NEGATE)
                if "/" in self.out[begin] and self.out[begin][0] != '"':
                    self.out[begin] = " " + self.out[begin]  # the minus would be part of the path
        elif isinstance(tree, Apply):
            first = tree.arguments[0]
            self.show(tree.function, _PRIMARY if isinstance(first, Variable) and first.name == "or" else _SELECT)
            for argument in tree.arguments:
                self.out.append(" ")
                self.show(argument, _SELECT)
        elif isinstance(tree, HasAttribute):
            self.show(tree.set, _HAS)
            self.out.append(" ? ")
            self._path(tree.path)
        else:
            self.show(tree.set, _PRIMARY + 1 if _is_path_or_number(tree.set) else _PRIMARY)
            self.out.append(".")
            self._path(tree.path)
            if tree.default is not None:
                self.out.append(" or ")
                self.show(tree.default, _SELECT)

    def _path(self, path: list[AttributeName]) -> None:
        for index, name in enumerate(path):
            if index:
                self.out.append(".")
            if isinstance(name, str):
                self.out.append(name_text(name))
            else:
                self._interpolation(name)

    def _list(self, tree: ListExpression) -> None:
        if not tree.items:
            self.out.append("[ ]")
            return
        self.out.append("[")
        self._indent += 1
        for item in tree.items:
            self._line()
            self.show(item, _SELECT)
        self._indent -= 1
        self._line()
        self.out.append("]")

    def _set(self, tree: AttributeSet) -> None:
        self.out.append("rec {" if tree.recursive else "{")
        if not tree.attributes and not tree.dynamic and not tree.sources:
            self.out.append(" }")
            return
        self._bindings(tree)
        self.out.append("}")

    def _bindings(self, tree: AttributeSet) -> None:
        self._indent += 1
        inherited = [name for name, attribute in tree.attributes.items() if attribute.kind == INHERITED]
        if inherited:
            self._line()
            self.out.append(f"inherit {' '.join(map(name_text, inherited))};")
        for index, from_ in enumerate(tree.sources):
            self._line()
            self.out.append("inherit (")
            self.show(from_, _OPEN)
            self.out.append(")")
            for name, attribute in tree.attributes.items():
                if attribute.kind == INHERITED_FROM and attribute.source == index:
                    self.out.append(" " + name_text(name))
            self.out.append(";")
        for name, attribute in tree.attributes.items():
            if attribute.kind == PLAIN and attribute.value is not None:
                self._line()
                self._binding(name, attribute.value)
        for entry in tree.dynamic:
            self._line()
            self._binding(entry.name, entry.value)
        self._indent -= 1
        self._line()

    def _binding(self, name: AttributeName, value: Expression) -> None:
        self._path([name])
        self.out.append(" = ")
        self.show(value, _OPEN)
        self.out.append(";")

    def _open(self, tree: Expression) -> None:
        if isinstance(tree, Function):
            self._function(tree)
        elif isinstance(tree, LetIn):
            self.out.append("let")
            self._bindings(tree.bindings)
            self.out.append("in")
            self._line()
            self.show(tree.body, _OPEN)
        elif isinstance(tree, Conditional):
            for word, part in (("if ", tree.condition), (" then ", tree.yes), (" else ", tree.no)):
                self.out.append(word)
                self.show(part, _OPEN)
        elif isinstance(tree, (Assertion, WithScope)):
            assertion = isinstance(tree, Assertion)
            self.out.append("assert " if assertion else "with ")
            self.show(tree.condition if isinstance(tree, Assertion) else tree.scope, _OPEN)
            self.out.append(";")
            self._line()
            self.show(tree.body, _OPEN)

    def _function(self, tree: Function) -> None:
        if tree.parameters is not None:
            self.out.append("{ ")
            for index, parameter in enumerate(tree.parameters):
                self.out.append(", " + parameter.name if index else parameter.name)
                if parameter.default is not None:
                    self.out.append(" ? ")
                    self.show(parameter.default, _OPEN)
            if tree.ellipsis:
                self.out.append(", ..." if tree.parameters else "...")
            self.out.append(" }" if tree.parameters or tree.ellipsis else "}")
            if tree.argument:
                self.out.append("@")
        self.out.append(tree.argument + ": ")
        self.show(tree.body, _OPEN)


def _level(tree: Expression) -> int:
    """How tightly an expression holds together."""
    if isinstance(tree, Binary):
        return _LEVELS[tree.operator]
    if isinstance(tree, Unary):
        return _NOT if tree.operator == "!" else _NEGATE
    if isinstance(tree, Apply):
        return _APPLY
    if isinstance(tree, SelectAttribute):
        return _SELECT
    if isinstance(tree, HasAttribute):
        return _HAS
    return _OPEN if isinstance(tree, (Function, LetIn, Conditional, Assertion, WithScope)) else _PRIMARY


def _is_path_or_number(tree: Expression) -> bool:
    """What would swallow a point after it."""
    return isinstance(tree, (PathLiteral, InterpolatedPath)) or (isinstance(tree, Literal) and not isinstance(tree.value, str))


def _is_path(text: str) -> bool:
    """Whether the scanner reads it as one piece after an interpolation."""
    return text != "" and "//" not in text and all(in_path(ord(c)) or c == "/" for c in text)


def _quoted(text: str) -> str:
    """Text inside of a string. A dollar at its end mustn't take that of an interpolation with it."""
    text = string_text(text)[1:-1]
    return text[:-1] + "\\$" if text.endswith("$") else text


def _literal(value: object) -> str:
    if isinstance(value, str):
        return string_text(value)
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text
