"""The parser of attribute sets, of the bindings of `let`, and of attribute paths."""

from __future__ import annotations

from tvix.eval import tokens
from tvix.eval.attribute_merging import bind, inherit
from tvix.eval.syntax import INHERITED, INHERITED_FROM, AttributeSet, Expression, Literal, SelectAttribute, Variable
from tvix.eval.token_reader import TokenReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.annotations import i64
    from tvix.eval.syntax import AttributeName

_NAME_BEGINS: Final = (tokens.OR_WORD, tokens.QUOTE, tokens.INTERPOLATION)


class BindingParser(TokenReader):
    """Adds sets and attribute paths."""

    def _set(self, recursive: bool, start: i64) -> Expression:
        self._scanner.advance()
        bindings = AttributeSet(recursive, start)
        if recursive:
            self._bindings(bindings, tokens.BRACE_CLOSE, "INHERIT", "'}'")
        else:
            self._bindings(bindings, tokens.BRACE_CLOSE, "INHERIT")
        return bindings

    def _old_let(self, start: i64) -> Expression:
        """`let { …; body = e; }`."""
        bindings = AttributeSet(True, start)
        self._scanner.advance()
        self._bindings(bindings, tokens.BRACE_CLOSE, "INHERIT", "'}'")
        self._scanner.advance()
        body = SelectAttribute(bindings, ["body"], None, -1)
        body.start = start
        return body

    def _attribute_path(self) -> list[AttributeName]:
        path = [self._attribute_name()]
        while self._scanner.kind == tokens.DOT:
            self._scanner.advance()
            path.append(self._attribute_name())
        return path

    def _attribute_name(self) -> AttributeName:
        scanner = self._scanner
        kind = scanner.kind
        if kind == tokens.ID or kind == tokens.OR_WORD:
            name = scanner.value
            scanner.advance()
            return name
        if kind == tokens.QUOTE:
            result = self._string(scanner.start)
            return str(result.value) if type(result) is Literal else result
        if kind == tokens.INTERPOLATION:
            result = self._interpolation()
            return result.value if type(result) is Literal and isinstance(result.value, str) else result
        raise self._unexpected("ID", "OR_KW", "DOLLAR_CURLY", "'\"'")

    def _bindings(self, target: AttributeSet, close: i64, *expected: str) -> None:
        """Attributes up to `close`, which is the current token then. `expected` are the tokens that an error names."""
        scanner = self._scanner
        while scanner.kind != close:
            if scanner.kind == tokens.INHERIT:
                at = scanner.start
                scanner.advance()
                self._inherit(target, at)
            elif scanner.kind == tokens.ID or scanner.kind in _NAME_BEGINS:
                self._binding(target, [], scanner.start)
            else:
                raise self._unexpected(*expected)

    def _binding(self, target: AttributeSet, path: list[AttributeName], start: i64) -> None:
        """`a.b.c = e;`; `path` has its first name if that was read already."""
        scanner = self._scanner
        if not path:
            path = [self._attribute_name()]
        while scanner.kind == tokens.DOT:
            scanner.advance()
            path.append(self._attribute_name())
        if scanner.kind != tokens.ASSIGN:
            raise self._unexpected("'.'", "'='")
        scanner.advance()
        value = self._expression()
        self._expect(tokens.SEMICOLON)
        bind(target, path, value, start, self._base)

    def _inherit(self, target: AttributeSet, at: i64) -> None:
        scanner = self._scanner
        source = -1
        if scanner.kind == tokens.PARENTHESIS_OPEN:
            scanner.advance()
            source = len(target.sources)
            target.sources.append(self._expression())
            self._expect(tokens.PARENTHESIS_CLOSE)
        if scanner.kind == tokens.SEMICOLON:
            target.empty_inherits = (*target.empty_inherits, int(at))
        while scanner.kind != tokens.SEMICOLON:
            if scanner.kind != tokens.ID and scanner.kind not in _NAME_BEGINS:
                raise self._unexpected()
            start = scanner.start
            name = self._attribute_name()
            if not isinstance(name, str):
                raise scanner.fail("dynamic attributes not allowed in inherit", start)
            if source >= 0:
                inherit(target, name, INHERITED_FROM, None, source, start, self._base)
            else:
                inherit(target, name, INHERITED, Variable(name, start), 0, start, self._base)
        scanner.advance()

    def _interpolation(self) -> Expression:
        """`${e}`."""
        raise NotImplementedError

    def _string(self, start: i64) -> Expression:
        """A string in double quotes."""
        raise NotImplementedError
