"""Regular expressions: `match` and `split`. Both work on bytes, and what they give has no context."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import plain_text, text
from tvix.eval.errors import EvalError, LimitExceeded
from tvix.eval.functions import Primitive
from tvix.eval.regex.pattern import Pattern
from tvix.eval.regex.problems import InvalidPattern, PatternTooLarge, TooManySteps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value

_MOST_KEPT: Final = 4096


@final
class Patterns:
    """Those that were read; all are forgotten when there are too many."""

    def __init__(self) -> None:
        self.known: dict[str, Pattern] = {}

    def get(self, pattern: str) -> Pattern:
        """The pattern of a text, or the error of C++ Nix."""
        known = self.known.get(pattern)
        if known is None:
            try:
                known = Pattern(pattern)
            except InvalidPattern:
                raise EvalError(f"invalid regular expression '{pattern}'") from None
            except PatternTooLarge:
                raise EvalError(f"memory limit exceeded by regular expression '{pattern}'") from None
            if len(self.known) >= _MOST_KEPT:
                self.known.clear()
            self.known[pattern] = known
        return known


@final
@mypyc_attr(acyclic=True)
class Match(Primitive):
    """`match pattern text`: the groups of a match of the whole text, else null."""

    def __init__(self, patterns: Patterns) -> None:
        super().__init__("match", 2)
        self.patterns = patterns

    def call2(self, first: Value, second: Value) -> Value:
        written = plain_text(first, "while evaluating the first argument passed to builtins.match")
        pattern = self.patterns.get(written)
        subject = text(second, "while evaluating the second argument passed to builtins.match")
        try:
            groups = pattern.match(subject)
        except TooManySteps:
            raise _too_many_steps(written) from None
        return None if groups is None else tuple(groups)


@final
@mypyc_attr(acyclic=True)
class Split(Primitive):
    """`split pattern text`: what is between the matches, and in between lists of their groups."""

    def __init__(self, patterns: Patterns) -> None:
        super().__init__("split", 2)
        self.patterns = patterns

    def call2(self, first: Value, second: Value) -> Value:
        written = plain_text(first, "while evaluating the first argument passed to builtins.split")
        pattern = self.patterns.get(written)
        subject = text(second, "while evaluating the second argument passed to builtins.split")
        result: list[Any] = []
        if pattern.plain is not None:
            for piece in subject.split(pattern.plain):
                result.append(piece)
                result.append(())
            result.pop()
            return (second_value(subject),) if len(result) == 1 else tuple(result)
        try:
            pieces = pattern.pieces(subject)
        except TooManySteps:
            raise _too_many_steps(written) from None
        if not pieces:
            return (second_value(subject),)
        at = 0
        for begin, end, groups in pieces:
            result.append(subject[at:begin])
            result.append(tuple(groups))
            at = end
        result.append(subject[at:])
        return tuple(result)


def second_value(subject: str) -> Value:
    """Without any match the text is given back as it is."""
    return subject


def _too_many_steps(pattern: str) -> EvalError:
    return LimitExceeded(f"matching the regular expression '{pattern}' takes too many steps")


def primitives(evaluator: Evaluator) -> list[Primitive]:  # all themes are asked the same way
    """The builtins of this theme."""
    patterns = Patterns()
    return [Match(patterns), Split(patterns)]
