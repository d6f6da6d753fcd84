"""From tokens to a syntax tree, by recursive descent; operators by precedence climbing.

    expression   x: e   {a, b ? c, ...}@x: e   assert e; e   with e; e   let … in e   if e then e else e   pipe
    pipe         operation |> operation        operation <| operation
    operation    operators over applications
    application  f x y
    selection    x.a.b   x.a or y   x or
    primary      names, literals, (e), [ … ], { … }, rec { … }, let { … }

Nesting is counted, since compiled code recurses on the C stack: at most `MAX_NESTING` levels, and as many operators one inside the
other to the left, which are nested in the tree though not in the text.
"""

from __future__ import annotations

from tvix.eval import tokens
from tvix.eval.annotations import final
from tvix.eval.errors import StackOverflow
from tvix.eval.primary_parser import PrimaryParser, begins, variable
from tvix.eval.syntax import (
    Apply,
    Assertion,
    AttributeSet,
    Binary,
    Conditional,
    Expression,
    Function,
    HasAttribute,
    LetIn,
    Parameter,
    SelectAttribute,
    Unary,
    Variable,
    WithScope,
)
from tvix.eval.token_reader import TOO_DEEP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.annotations import i64


def parse(text: str, first_position: int, *, pipes: bool) -> Expression:
    """The tree of a whole source, one character a byte. Offsets in the tree count from 0; errors are at `first_position` and the
    offset.

    Raises `SyntaxError_`, and `StackOverflow` where the source is nested too deeply.
    """
    try:
        return Parser(text, first_position, pipes).whole()
    except RecursionError:
        raise StackOverflow(TOO_DEEP, first_position) from None


def condition_at(text: str, offset: int) -> Expression:
    """The condition of the `assert` at an offset of a text that was parsed before."""
    return Parser(text[offset:], 0, True).condition()


def selection_at(text: str, offset: int) -> Expression:
    """What selects at an offset of a text that was parsed before."""
    return Parser(text[offset:], 0, True).selection()


@final
class Parser(PrimaryParser):
    """One parse of one text."""

    def whole(self) -> Expression:
        """The expression that the text is."""
        scanner = self._scanner
        scanner.advance()
        result = self._expression()
        if scanner.kind != tokens.END:
            raise self._unexpected("end of file")
        return result

    def selection(self) -> Expression:
        """The selection that the text begins with."""
        self._scanner.advance()
        return self._selection(None)

    def condition(self) -> Expression:
        """The expression after the first token."""
        self._scanner.advance()
        self._scanner.advance()
        return self._expression()

    def _expression(self) -> Expression:
        scanner = self._scanner
        kind = scanner.kind
        start = scanner.start
        self._deeper()
        result: Expression
        if kind == tokens.ID:
            name = scanner.value
            scanner.advance()
            if scanner.kind == tokens.COLON:
                scanner.advance()
                result = Function(name, None, False, self._expression(), start)
            elif scanner.kind == tokens.AT:
                scanner.advance()
                result = self._pattern_after_name(name, start)
            else:
                result = self._pipe(variable(name, start))
        elif kind == tokens.BRACE_OPEN:
            result = self._set_or_pattern(start)
        elif kind == tokens.IF or tokens.ASSERT <= kind <= tokens.LET:
            result = self._keyword(kind, start)
        else:
            result = self._pipe(None)
        self._depth -= 1
        return result

    def _keyword(self, kind: i64, start: i64) -> Expression:
        scanner = self._scanner
        scanner.advance()
        if kind == tokens.LET:
            return self._let(start)
        if kind == tokens.IF:
            condition = self._expression()
            self._expect(tokens.THEN)
            yes = self._expression()
            self._expect(tokens.ELSE)
            return Conditional(condition, yes, self._expression(), start)
        first = self._expression()
        self._expect(tokens.SEMICOLON)
        if kind == tokens.WITH:
            return WithScope(first, self._expression(), start)
        return Assertion(first, self._expression(), start)

    def _let(self, start: i64) -> Expression:
        scanner = self._scanner
        if scanner.kind == tokens.BRACE_OPEN:
            return self._pipe(self._old_let(start))
        bindings = AttributeSet(True, start)
        self._bindings(bindings, tokens.IN, "IN_KW", "INHERIT")
        scanner.advance()
        body = self._expression()
        if bindings.dynamic:
            raise scanner.fail("dynamic attributes not allowed in let", start)
        return LetIn(bindings, body, start)

    def _set_or_pattern(self, start: i64) -> Expression:
        """After `{` where a function may begin."""
        scanner = self._scanner
        scanner.advance()
        kind = scanner.kind
        if kind == tokens.BRACE_CLOSE:
            scanner.advance()
            if scanner.kind == tokens.COLON or scanner.kind == tokens.AT:
                return self._function_after_pattern([], False, start)
            return self._pipe(AttributeSet(False, start))
        if kind == tokens.ELLIPSIS:
            return self._pattern([], start)
        bindings = AttributeSet(False, start)
        if kind == tokens.ID:
            name = scanner.value
            position = scanner.start
            scanner.advance()
            if scanner.kind == tokens.COMMA or scanner.kind == tokens.QUESTION or scanner.kind == tokens.BRACE_CLOSE:
                parameters = [self._parameter(name, position)]
                return self._pattern(parameters, start)
            self._binding(bindings, [name], position)
        self._bindings(bindings, tokens.BRACE_CLOSE, "INHERIT")
        scanner.advance()
        return self._pipe(bindings)

    def _parameter(self, name: str, position: i64) -> Parameter:
        """The rest of a parameter, and the comma behind it."""
        scanner = self._scanner
        default = None
        if scanner.kind == tokens.QUESTION:
            scanner.advance()
            default = self._expression()
        if scanner.kind == tokens.COMMA:
            scanner.advance()
        elif scanner.kind != tokens.BRACE_CLOSE:
            raise self._unexpected("'}'", "','")
        return Parameter(name, default, position)

    def _parameters(self, parameters: list[Parameter]) -> bool:
        """The rest of a pattern up to `}`, which is the current token then. Whether there is an ellipsis."""
        scanner = self._scanner
        while scanner.kind == tokens.ID:
            name = scanner.value
            position = scanner.start
            scanner.advance()
            parameters.append(self._parameter(name, position))
        ellipsis = scanner.kind == tokens.ELLIPSIS
        if ellipsis:
            scanner.advance()
            if scanner.kind != tokens.BRACE_CLOSE:
                raise self._unexpected("'}'")
        elif scanner.kind != tokens.BRACE_CLOSE:
            raise self._unexpected("ID", "ELLIPSIS", "'}'")
        return ellipsis

    def _pattern(self, parameters: list[Parameter], start: i64) -> Expression:
        ellipsis = self._parameters(parameters)
        self._scanner.advance()
        return self._function_after_pattern(parameters, ellipsis, start)

    def _function_after_pattern(self, parameters: list[Parameter], ellipsis: bool, start: i64) -> Expression:
        scanner = self._scanner
        argument = ""
        if scanner.kind == tokens.AT:
            scanner.advance()
            if scanner.kind != tokens.ID:
                raise self._unexpected("ID")
            argument = scanner.value
            scanner.advance()
            self._expect(tokens.COLON)
        elif scanner.kind == tokens.COLON:
            scanner.advance()
        else:
            raise self._unexpected("':'", "'@'")
        return self._function(argument, parameters, ellipsis, start)

    def _pattern_after_name(self, name: str, start: i64) -> Expression:
        self._expect(tokens.BRACE_OPEN)
        parameters: list[Parameter] = []
        ellipsis = self._parameters(parameters)
        self._scanner.advance()
        self._expect(tokens.COLON)
        return self._function(name, parameters, ellipsis, start)

    def _function(self, argument: str, parameters: list[Parameter], ellipsis: bool, start: i64) -> Expression:
        body = self._expression()
        names = set()
        twice: Parameter | None = None
        for parameter in parameters:
            if parameter.name in names and (twice is None or parameter.name < twice.name):
                twice = parameter
            names.add(parameter.name)
        if twice is not None:
            raise self._scanner.fail(_DUPLICATE.format(twice.name), twice.position)
        if argument in names:
            raise self._scanner.fail(_DUPLICATE.format(argument), start)
        return Function(argument, parameters, ellipsis, body, start)

    def _pipe(self, first: Expression | None) -> Expression:
        """Operations, and pipes between them; `first` is a primary expression that was read already."""
        left = self._operation(first, 0)
        kind = self._scanner.kind
        if kind == tokens.PIPE_INTO:
            while self._scanner.kind == tokens.PIPE_INTO:
                at = self._scanner.start
                self._scanner.advance()
                self._link()
                left = _call(self._operation(None, 0), left, at)
        elif kind == tokens.PIPE_FROM:
            at = self._scanner.start
            self._scanner.advance()
            self._deeper()
            left = _call(left, self._pipe_from(), at)
            self._depth -= 1
        return left

    def _pipe_from(self) -> Expression:
        left = self._operation(None, 0)
        if self._scanner.kind == tokens.PIPE_FROM:
            at = self._scanner.start
            self._scanner.advance()
            self._deeper()
            left = _call(left, self._pipe_from(), at)
            self._depth -= 1
        return left

    def _operation(self, first: Expression | None, level: i64) -> Expression:
        """Operators that bind more tightly than `level` or as tightly."""
        links = self._links
        self._links = 0
        scanner = self._scanner
        start = scanner.start if first is None else first.position
        left = self._operand(first)
        while scanner.kind >= tokens.FIRST_OPERATOR:
            kind = scanner.kind
            binds: i64 = _LEVELS[kind - tokens.FIRST_OPERATOR]
            if binds < level:
                break
            position = scanner.start
            scanner.advance()
            if kind == tokens.QUESTION:
                left = HasAttribute(left, self._attribute_path(), position)
            else:
                right_start = scanner.start
                right = self._operation(None, binds if kind in _RIGHT else binds + 1)
                if kind == tokens.PLUS:
                    left.start = start
                    right.start = right_start
                left = Binary(tokens.OPERATORS[kind - tokens.FIRST_OPERATOR], left, right, position)
                if _COMPARES <= binds <= _ORDERS and self._level() == binds:
                    raise self._unexpected()
            self._link()
        if self._links < links:
            self._links = links
        return left

    def _level(self) -> i64:
        """How tightly the current token binds, if it is an operator."""
        kind = self._scanner.kind
        return _LEVELS[kind - tokens.FIRST_OPERATOR] if kind >= tokens.FIRST_OPERATOR else 0

    def _operand(self, first: Expression | None) -> Expression:
        scanner = self._scanner
        if first is None:
            kind = scanner.kind
            if kind == tokens.NOT or kind == tokens.MINUS:
                position = scanner.start
                scanner.advance()
                self._deeper()
                if kind == tokens.NOT:
                    operand: Expression = Unary("!", self._operation(None, _NOT), position)
                else:
                    operand = Unary("-", self._operation(None, _NEGATE), position)
                self._depth -= 1
                return operand
        return self._application(first)

    def _application(self, first: Expression | None) -> Expression:
        scanner = self._scanner
        start = scanner.start if first is None else max(first.position, first.start)
        function = self._selection(first)
        if not begins(scanner.kind):
            return function
        call = _call(function, self._selection(None), start)
        while begins(scanner.kind):
            call.arguments.append(self._selection(None))
        return call

    def _selection(self, first: Expression | None) -> Expression:
        scanner = self._scanner
        if first is None:
            start = scanner.start
            first = self._primary()
        else:
            start = first.position
        if scanner.kind == tokens.DOT:
            scanner.advance()
            path = self._attribute_path()
            default = None
            if scanner.kind == tokens.OR_WORD:
                scanner.advance()
                self._deeper()
                default = self._selection(None)
                self._depth -= 1
            return SelectAttribute(first, path, default, start)
        if scanner.kind == tokens.OR_WORD:
            scanner.advance()
            return Apply(first, [Variable("or", start)], start)
        return first


def _call(function: Expression, argument: Expression, position: i64) -> Apply:
    """A call; or one more argument of a call that is called, as in `(f x) y`."""
    if type(function) is Apply:
        function.arguments.append(argument)
        return function
    if (type(function) is Binary and function.operator in _CALLS) or (type(function) is Unary and function.operator == "-"):
        position = function.position  # these are calls of builtins in C++ Nix, which takes one more argument
    return Apply(function, [argument], position)


_CALLS: Final = ("-", "*", "/", "<", ">")
_RIGHT: Final = (tokens.IMPLIES, tokens.UPDATE, tokens.CONCATENATE)
_LEVELS: Final[list[int]] = [1, 2, 3, 4, 4, 5, 5, 5, 5, 6, 8, 8, 9, 9, 10, 11]
"""How tightly the operators from `FIRST_OPERATOR` on bind."""
_COMPARES: Final = 4
_ORDERS: Final = 5
_NOT: Final = 8
_NEGATE: Final = 12
_DUPLICATE: Final = "duplicate formal function argument '{}'"
