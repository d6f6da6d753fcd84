"""What can go wrong while a program is read and evaluated.

An error collects its trace while it passes through the nodes that it interrupts: pairs of a position and a text, the innermost
first, as C++ Nix collects them. Positions are those of `positions`; nothing is looked up before the error is printed
(`error_report`). `catchable` errors are those that `builtins.tryEval` turns into a value.

This module isn't compiled: compiled classes can't have an interpreted base.
"""

from __future__ import annotations

from tvix.errors import EX_DATAERR, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final, NamedTuple

    class Frame(NamedTuple):
        """One line of a trace, of one of the kinds below."""

        position: int
        text: str
        kind: int
else:
    Frame = tuple

ORDINARY: Final = 0
ALWAYS: Final = 1
"""Shown even where the rest of the trace isn't."""
CALL: Final = 2
"""A call of a function, shown with `--show-trace` only."""


class EvalError(TvixError):
    """Evaluation ended without a value. `position` is 0 where none is known; `suggestions` are the nearest names."""

    identifier = "eval.error"
    message = "{detail}"
    exit_code = EX_DATAERR
    catchable: ClassVar[bool] = False

    def __init__(self, detail: str, position: int = 0, suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(detail=detail)
        self.detail = detail
        self.position = position
        self.suggestions = suggestions
        self.frames: list[Frame] = []

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.detail, self.position, self.suggestions, self.frames))

    def at(self, position: int) -> EvalError:
        """The same error, at `position` unless it has one already."""
        if not self.position:
            self.position = position
        return self

    def while_(self, position: int, text: str, *, always: bool = False) -> None:
        """One more frame of the trace: `text` says what was going on around it, as in "while calling the 'map' builtin"."""
        self.frames.append((position, text, ALWAYS if always else ORDINARY))  # type: ignore[arg-type]

    def called(self, position: int, text: str) -> None:
        """One more frame, of a call of a function: `text` is "while calling 'f'" or "from call site"."""
        self.frames.append((position, text, CALL))  # type: ignore[arg-type]


def _rebuild(kind: type[EvalError], detail: str, position: int, suggestions: tuple[str, ...], frames: list[Frame]) -> EvalError:
    error = kind(detail, position, suggestions)
    error.frames = frames
    return error


class SyntaxError_(EvalError):  # noqa: N801  # the language's own, not Python's
    """The text isn't Nix."""

    identifier = "eval.syntax"


class UndefinedVariable(EvalError):
    """A name that nothing binds. Found when a file is read, or inside `with` when the name is needed."""

    identifier = "eval.undefined-variable"


class TypeMismatch(EvalError):
    """A value of another type than its place demands."""

    identifier = "eval.type"


class MissingAttribute(EvalError):
    """An attribute set without the attribute that was selected."""

    identifier = "eval.missing-attribute"


class MissingArgument(EvalError):
    """A function whose set pattern names an argument that it wasn't given."""

    identifier = "eval.missing-argument"


class UnexpectedArgument(EvalError):
    """A function whose set pattern doesn't name an argument that it was given."""

    identifier = "eval.unexpected-argument"


class Thrown(EvalError):
    """`builtins.throw`."""

    identifier = "eval.throw"
    catchable = True


class AssertionFailed(EvalError):
    """`assert` found its condition false."""

    identifier = "eval.assertion"
    catchable = True


class NotInSearchPath(EvalError):
    """`<name>` where no entry of the search path has it."""

    identifier = "eval.search-path"
    catchable = True


class Aborted(EvalError):
    """`builtins.abort`."""

    identifier = "eval.abort"


class InfiniteRecursion(EvalError):
    """A value that needs itself."""

    identifier = "eval.infinite-recursion"


class StackOverflow(EvalError):
    """Calls, values or source nested deeper than the limit."""

    identifier = "eval.stack-overflow"


class LimitExceeded(EvalError):
    """An evaluation that took more time or memory than its caller allows."""

    identifier = "eval.limit"


class AccessForbidden(EvalError):
    """Something outside of what pure or restricted evaluation may look at."""

    identifier = "eval.forbidden"


class FileProblem(EvalError):
    """A file or directory that couldn't be read."""

    identifier = "eval.file"


class InvalidUrl(EvalError):
    """A text that should be a URL, or a URL of a flake that makes no sense."""

    identifier = "eval.url"
