"""The parser of primary expressions: those that can be arguments and elements of lists without parentheses."""

from __future__ import annotations

from tvix.eval import tokens
from tvix.eval.binding_parser import BindingParser
from tvix.eval.indentation import COMPUTED, ESCAPED, WRITTEN, stripped
from tvix.eval.syntax import (
    CurrentPositionOf,
    Expression,
    Interpolated,
    InterpolatedPath,
    ListExpression,
    Literal,
    PathLiteral,
    SearchPath,
    Variable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.annotations import i64

_MAX_INT: Final = (1 << 63) - 1
_LARGEST_FLOAT: Final = 1.7976931348623157e308
_SMALLEST_FLOAT: Final = 2.2250738585072014e-308
"""Below it, floats lose digits."""


class PrimaryParser(BindingParser):
    """Adds names, literals, parentheses, lists and sets."""

    def _primary(self) -> Expression:
        scanner = self._scanner
        kind = scanner.kind
        start = scanner.start
        result: Expression
        if kind == tokens.ID:
            result = variable(scanner.value, start)
        elif kind == tokens.QUOTE:
            return self._string(start)
        elif kind == tokens.PARENTHESIS_OPEN:
            scanner.advance()
            result = self._expression()
            if scanner.kind != tokens.PARENTHESIS_CLOSE:
                raise self._unexpected("')'")
        elif kind == tokens.BRACKET_OPEN:
            result = self._list(start)
        elif kind == tokens.BRACE_OPEN:
            result = self._set(False, start)
        elif kind == tokens.INDENTED_OPEN:
            return self._indented(start)
        elif kind == tokens.PATH or kind == tokens.HOME_PATH:
            return self._path(start)
        else:
            return self._seldom(kind, start)
        scanner.advance()
        return result

    def _seldom(self, kind: i64, start: i64) -> Expression:
        scanner = self._scanner
        result: Expression
        if kind == tokens.INTEGER:
            result = self._integer(start)
        elif kind == tokens.URI:
            result = Literal(scanner.value, start)
        elif kind == tokens.SEARCH:
            result = SearchPath(scanner.value, start)
        elif kind == tokens.FLOAT:
            result = self._float(start)
        elif kind == tokens.REC or kind == tokens.LET:
            scanner.advance()
            if scanner.kind != tokens.BRACE_OPEN:
                raise self._unexpected("'{'")
            if kind == tokens.LET:
                return self._old_let(start)
            result = self._set(True, start)
        else:
            raise self._unexpected()
        scanner.advance()
        return result

    def _list(self, start: i64) -> Expression:
        scanner = self._scanner
        self._deeper()
        scanner.advance()
        items: list[Expression] = []
        while begins(scanner.kind):
            items.append(self._selection(None))
        if scanner.kind != tokens.BRACKET_CLOSE:
            raise self._unexpected()
        self._depth -= 1
        return ListExpression(items, start)

    def _integer(self, start: i64) -> Expression:
        digits = self._scanner.value
        if len(digits) < 19:
            return Literal(int(digits), start)
        digits = digits.lstrip("0")
        if len(digits) > 19 or int(digits or "0") > _MAX_INT:
            raise self._scanner.fail(f"invalid integer '{self._scanner.value}'", start)
        return Literal(int(digits or "0"), start)

    def _float(self, start: i64) -> Expression:
        digits = self._scanner.value
        value = float(digits)
        if value > _LARGEST_FLOAT or (value < _SMALLEST_FLOAT and digits.lower().partition("e")[0].strip("0.")):
            raise self._scanner.fail(f"invalid float '{digits}'", start)
        return Literal(value, start)

    def _interpolation(self) -> Expression:
        """`${e}`, from its opening on."""
        start = self._scanner.start
        self._scanner.advance()
        result = self._expression()
        result.start = start
        self._expect(tokens.BRACE_CLOSE)
        return result

    def _string(self, start: i64) -> Expression:
        scanner = self._scanner
        scanner.advance()
        if scanner.kind == tokens.QUOTE:
            scanner.advance()
            return Literal("", start)
        parts = self._parts(tokens.QUOTE)
        first = parts[0]
        if len(parts) == 1 and type(first) is Literal and not self._interpolated:
            return Literal(first.value, start)
        return Interpolated(parts, first.position if type(first) is Literal else first.start)

    def _parts(self, close: i64) -> list[Expression]:
        """Text and interpolations up to `close`, and go past it. There is at least one."""
        scanner = self._scanner
        parts: list[Expression] = []
        self._interpolated = False
        interpolated = False
        while scanner.kind != close:
            if scanner.kind == tokens.STRING:
                parts.append(Literal(scanner.value, scanner.start))
                scanner.advance()
                if close == tokens.PATH_END and not interpolated and scanner.kind != tokens.INTERPOLATION:
                    raise self._unexpected("DOLLAR_CURLY")
            elif scanner.kind == tokens.INTERPOLATION:
                interpolated = True
                parts.append(self._interpolation())
            else:
                raise self._unexpected(tokens.NAMES[close])
        scanner.advance()
        self._interpolated = interpolated
        return parts

    def _indented(self, start: i64) -> Expression:
        scanner = self._scanner
        scanner.advance()
        parts: list[Expression] = []
        kinds: list[int] = []
        while scanner.kind != tokens.INDENTED_CLOSE:
            if scanner.kind == tokens.INDENTED:
                parts.append(Literal(scanner.value, scanner.start))
                kinds.append(WRITTEN if scanner.verbatim else ESCAPED)
                scanner.advance()
            elif scanner.kind == tokens.INTERPOLATION:
                parts.append(self._interpolation())
                kinds.append(COMPUTED)
            else:
                raise self._unexpected("IND_STR", "DOLLAR_CURLY", "IND_STRING_CLOSE")
        scanner.advance()
        return stripped(parts, kinds, start)

    def _path(self, start: i64) -> Expression:
        scanner = self._scanner
        literal = PathLiteral(scanner.value, start)
        scanner.advance()
        if scanner.kind == tokens.PATH_END:
            scanner.advance()
            return literal
        return InterpolatedPath([literal, *self._parts(tokens.PATH_END)], start)


def variable(name: str, position: int) -> Expression:
    """A name, or `__curPos`."""
    return CurrentPositionOf(position) if name == "__curPos" else Variable(name, position)


def begins(kind: i64) -> bool:
    """Whether a primary expression begins with such a token."""
    return (
        tokens.ID <= kind <= tokens.FLOAT
        or tokens.PATH <= kind <= tokens.SEARCH
        or kind == tokens.URI
        or kind == tokens.LET
        or kind == tokens.REC
        or kind == tokens.QUOTE
        or kind == tokens.INDENTED_OPEN
        or kind == tokens.BRACE_OPEN
        or kind == tokens.PARENTHESIS_OPEN
        or kind == tokens.BRACKET_OPEN
    )
