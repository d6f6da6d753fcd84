"""One evaluation for one load: an evaluator of its own, on a stack of its own."""

from __future__ import annotations

from _thread import RLock, get_ident

from tvix.eval.errors import EvalError, LimitExceeded
from tvix.eval.evaluator import Evaluator, Settings
from tvix.eval.io import NoIO
from tvix.eval.stack import on_deep_stack
from tvix.serde.errors import EvaluationFailed, mismatch
from tvix.serde.text import shown, to_nix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from tvix.eval.io import EvalIO
    from tvix.eval.values import Value
    from tvix.serde.decoding import Decoding

    T = TypeVar("T")


class Options:
    """What the functions of this package take besides the text and the schema; `loading.load` says what each means."""

    __slots__ = ("builtins", "call_depth", "io", "log", "variables")

    def __init__(
        self,
        io: EvalIO | None,
        builtins: Mapping[str, object] | None,
        variables: Mapping[str, object] | None,
        call_depth: int,
        log: Callable[[str], object] | None,
    ) -> None:
        self.io = io
        self.builtins = builtins or {}
        self.variables = variables
        self.call_depth = call_depth
        self.log = log


def make_evaluator(options: Options) -> Evaluator:
    """An evaluator that is pure, and sees nothing but what `io` has."""
    settings = Settings()
    settings.pure = True
    settings.max_call_depth = options.call_depth
    log = options.log
    if log is not None:
        settings.log = lambda line: log(shown(line))
    evaluator = Evaluator(NoIO() if options.io is None else options.io, settings)
    if options.builtins:
        from tvix.serde.host_functions import add

        add(evaluator.registry, options.builtins)
    return evaluator


def variables_of(options: Options) -> dict[str, Value] | None:
    """The further variables, as values."""
    if options.variables is None:
        return None
    from tvix.serde.types import shape_of

    anything = shape_of(object)
    return {to_nix(name): anything.encode(value, name) for name, value in options.variables.items()}


ONE_AT_A_TIME = RLock()


class _Deep:
    """The thread in which evaluation goes on, if it does."""

    thread = 0


def deeply(work: Callable[[], T]) -> T:
    """The result of `work`, on a deep stack. A builtin that loads something itself is on one already."""
    if _Deep.thread == get_ident():
        return work()

    def begin() -> T:
        _Deep.thread = get_ident()
        return work()

    with ONE_AT_A_TIME:
        try:
            return on_deep_stack(begin)
        finally:
            _Deep.thread = 0


def evaluate(evaluator: Evaluator, program: Callable[[], Value], decode: Callable[[Value, Decoding], T]) -> T:
    """The decoded value of a program. Raises `SchemaMismatch`, `EvaluationFailed` and `LimitExceeded`."""
    from tvix.serde.decoding import Decoding

    with evaluator.session():
        try:
            decoding = Decoding()
            result = decode(program(), decoding)
        except LimitExceeded:
            raise
        except EvalError as error:
            raise failed(error, evaluator) from error
        if decoding.found:
            from tvix.serde.spans import Spans

            spans = Spans(evaluator.sources, evaluator.io)
            raise mismatch([spans.placed(found) for found in decoding.found])
        return result


def failed(error: EvalError, evaluator: Evaluator) -> EvaluationFailed:
    """The error of the evaluator as one that makes sense without it."""
    from tvix.eval.error_report import locate, render

    text = shown(render(error, evaluator.sources, evaluator.io, show_trace=True, color=False))
    positions = [error.position, *[frame[0] for frame in error.frames]]
    place = locate(evaluator.sources, evaluator.io, next(filter(None, positions), 0))
    detail = shown(error.detail.partition("\n")[0])
    at = "" if place is None else f"{shown(place.source.shown)}:{place.line}:{place.column}: "
    return EvaluationFailed(at + detail, text)
