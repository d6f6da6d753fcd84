"""What every part of the parser does: look at the current token, demand one, and count how deeply the source is nested."""

from __future__ import annotations

from tvix.eval import tokens
from tvix.eval.errors import StackOverflow, SyntaxError_
from tvix.eval.scanner import Scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.annotations import i64
    from tvix.eval.syntax import Expression

MAX_NESTING: Final = 50_000
TOO_DEEP: Final = "stack overflow; the source is nested too deeply"


class TokenReader:
    """The state of one parse: its scanner, whose token is the current one, and its depth."""

    def __init__(self, text: str, first_position: int, pipes: bool) -> None:
        self._scanner = Scanner(text, first_position, pipes)
        self._base = first_position
        self._depth: i64 = 0
        self._links: i64 = 0
        """How many operators are nested to the left in what was parsed last."""
        self._interpolated = False
        """Whether the string or path that was parsed last has interpolations."""

    def _unexpected(self, *expected: str) -> SyntaxError_:
        scanner = self._scanner
        text = f"syntax error, unexpected {tokens.NAMES[scanner.kind]}"
        if expected:
            text += f", expecting {' or '.join(expected)}"
        return scanner.fail(text, scanner.start)

    def _expect(self, kind: i64) -> None:
        """Go past a token of this kind, or fail."""
        if self._scanner.kind != kind:
            raise self._unexpected(tokens.NAMES[kind])
        self._scanner.advance()

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth + self._links > MAX_NESTING:
            raise StackOverflow(TOO_DEEP, self._base + self._scanner.start)

    def _link(self) -> None:
        self._links += 1
        if self._links + self._depth > MAX_NESTING:
            raise StackOverflow(TOO_DEEP, self._base + self._scanner.start)

    def _expression(self) -> Expression:
        """Any expression, as far as it goes."""
        raise NotImplementedError

    def _selection(self, first: Expression | None) -> Expression:
        """An expression that can be an argument. `first` is a primary one that was read already."""
        raise NotImplementedError
