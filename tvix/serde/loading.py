"""From Nix text to a value of the type that a schema is."""

from __future__ import annotations

from tvix.serde.annotations import overload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.io import EvalIO
    from tvix.eval.values import Value
    from tvix.serde.decoding import Decoding
    from tvix.serde.limits import Limits

    T = TypeVar("T")


CALL_DEPTH = 10_000


@overload
def load(
    text: str | bytes,
    schema: type[T],
    *,
    name: str = ...,
    base: str = ...,
    io: EvalIO | None = ...,
    builtins: Mapping[str, object] | None = ...,
    variables: Mapping[str, object] | None = ...,
    call_depth: int = ...,
    limits: Limits | None = ...,
    log: Callable[[str], object] | None = ...,
) -> T: ...
@overload
def load(
    text: str | bytes,
    schema: object,
    *,
    name: str = ...,
    base: str = ...,
    io: EvalIO | None = ...,
    builtins: Mapping[str, object] | None = ...,
    variables: Mapping[str, object] | None = ...,
    call_depth: int = ...,
    limits: Limits | None = ...,
    log: Callable[[str], object] | None = ...,
) -> Any: ...  # noqa: ANN401  # a union isn't a type to mypy
def load(
    text: str | bytes,
    schema: object,
    *,
    name: str = "«string»",
    base: str = "/",
    io: EvalIO | None = None,
    builtins: Mapping[str, object] | None = None,
    variables: Mapping[str, object] | None = None,
    call_depth: int = CALL_DEPTH,
    limits: Limits | None = None,
    log: Callable[[str], object] | None = None,
) -> object:
    """The value of a text, decoded by a type (`tvix.serde.types` says which there are).

    Nothing can be looked at but what `io` has, which is nothing by default. `builtins` are added to the language, or replace
    some of it: functions of Python (`tvix.serde.host_functions`) and values. `variables` are in scope in the text alone.
    `name` is what errors call the text, `base` the directory that its relative paths start from. `call_depth` bounds how deeply
    calls are nested, `limits` time and memory. `log` gets what `builtins.trace` and `builtins.warn` say.

    Raises `SchemaMismatch`, `EvaluationFailed`, `UnsupportedSchema`, and `LimitExceeded` of the evaluator.
    """
    from tvix.serde.evaluation import Options, make_evaluator, variables_of
    from tvix.serde.text import to_nix

    source = text.decode("latin-1") if isinstance(text, bytes) else to_nix(text)
    options = Options(io, builtins, variables, call_depth, log)

    def program() -> tuple[Evaluator, Callable[[], Value]]:
        evaluator = make_evaluator(options)
        scope = variables_of(options)
        return evaluator, lambda: evaluator.string(source, to_nix(base), name, scope)

    return _run(program, schema, limits)


@overload
def load_file(
    path: str,
    schema: type[T],
    *,
    io: EvalIO | None = ...,
    builtins: Mapping[str, object] | None = ...,
    call_depth: int = ...,
    limits: Limits | None = ...,
    log: Callable[[str], object] | None = ...,
) -> T: ...
@overload
def load_file(
    path: str,
    schema: object,
    *,
    io: EvalIO | None = ...,
    builtins: Mapping[str, object] | None = ...,
    call_depth: int = ...,
    limits: Limits | None = ...,
    log: Callable[[str], object] | None = ...,
) -> Any: ...  # noqa: ANN401
def load_file(
    path: str,
    schema: object,
    *,
    io: EvalIO | None = None,
    builtins: Mapping[str, object] | None = None,
    call_depth: int = CALL_DEPTH,
    limits: Limits | None = None,
    log: Callable[[str], object] | None = None,
) -> object:
    """The same for the file at an absolute path. Without `io`, that file is read, and what lies in its directory and below can be
    imported; there is no environment and no time. A file of `MemoryIO` is never on a disk.
    """
    from tvix.eval.paths import normal
    from tvix.serde.evaluation import Options, make_evaluator
    from tvix.serde.text import to_nix

    place = normal(to_nix(path))
    if io is None:
        io, place = _neighbours(place)
    options = Options(io, builtins, None, call_depth, log)

    def program() -> tuple[Evaluator, Callable[[], Value]]:
        evaluator = make_evaluator(options)
        return evaluator, lambda: evaluator.main_file(place)

    return _run(program, schema, limits)


def decode(evaluator: Evaluator, value: Value, schema: object) -> Any:  # noqa: ANN401  # see `load`
    """A value that an evaluator has computed, for programs that drive one themselves: in its session, on a stack of their choice.

    Raises as `load` does. The place of the value is where its attribute is defined, if it is given as the thunk that a set holds;
    else the evaluator's first source.
    """
    from tvix.eval.values import Thunk
    from tvix.serde.evaluation import evaluate

    return evaluate(evaluator, lambda: value, _decoder(schema, value.node.position() if type(value) is Thunk else 0))


def _neighbours(path: str) -> tuple[EvalIO, str]:
    from tvix.eval.io_files import FileIO
    from tvix.eval.io_restricted import RestrictedIO

    files = FileIO()
    place = files.resolve(path)
    directory = place if files.kind(place) == "directory" else place.rpartition("/")[0] or "/"
    return RestrictedIO(files, [directory], pure=True), place


def _run(program: Callable[[], tuple[Evaluator, Callable[[], Value]]], schema: object, limits: Limits | None) -> object:
    from tvix.serde.evaluation import deeply, evaluate

    decoder = _decoder(schema)

    def work() -> object:
        evaluator, value = program()
        return evaluate(evaluator, value, decoder)

    if limits is None:
        return deeply(work)
    from tvix.serde.limits import within

    return within(limits, lambda: deeply(work))


def _decoder(schema: object, position: int = 0) -> Callable[[Value, Decoding], object]:
    from tvix.serde.places import Place
    from tvix.serde.types import shape_of

    shape = shape_of(schema)
    return lambda value, decoding: decoding.decode(shape, value, Place(None, None, position))
