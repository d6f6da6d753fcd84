"""An evaluator: builtins, what may be looked at, and the files that were read.

    evaluator = Evaluator(NoIO())
    value = evaluator.string("{ a = 1 + 1; }.a", base="/")          # 2

Values come in weak head normal form. One evaluation runs at a time in a process (`Evaluator.session`), on a stack as deep as
`stack.on_deep_stack` makes it; evaluators share nothing but the counters of `values.MACHINE`.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import RLock

from tvix.eval.builtins.registry import Registry, standard
from tvix.eval.coercion import PLACES
from tvix.eval.compiler import Compiler, Surroundings
from tvix.eval.positions import CURRENT, Source, Sources
from tvix.eval.resolver import Resolver, Scope
from tvix.eval.values import MACHINE, TOP, Env, Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from tvix.eval.code_files import CodeFiles
    from tvix.eval.functions import Primitive
    from tvix.eval.io import EvalIO
    from tvix.eval.values import Value

_session = RLock()


class Settings:
    """What an evaluator is told once. `search_path` has (prefix, path) pairs, as `-I` gives them; `home` is what `~` means."""

    def __init__(self) -> None:
        self.pure = False
        self.restrict = False
        self.search_path: list[tuple[str, str]] = []
        self.home = ""
        self.system = "x86_64-linux"
        self.store_dir = "/nix/store"
        self.max_call_depth = 10_000
        self.trace_verbose = False
        self.pipe_operators = True
        self.log: Callable[[str], object] = lambda _line: None
        """What `trace` and `warn` say, a line each."""
        self.code_files: CodeFiles | None = None
        """Where resolved code is kept between runs."""
        self.copy_path: Callable[[str], str] | None = None
        """See `coercion.Places`."""
        self.primitives: Callable[[Evaluator], Sequence[Primitive]] | None = None
        """Builtins beside or instead of the standard ones."""


class Evaluator:
    """See above."""

    def __init__(self, io: EvalIO, settings: Settings | None = None) -> None:
        self.io = io
        self.settings = settings or Settings()
        self.sources = Sources()
        self.registry: Registry = standard(self)
        if self.settings.primitives is not None:
            self.registry.add(self.settings.primitives(self))
        self.surroundings = Surroundings(self.registry.globals, self.registry.primitives, self.settings.home)
        self.surroundings.explain_assertion = self._explain_assertion
        self.surroundings.describe_position = self.position_value
        self._imported: dict[str, Value] = {}

    @contextmanager
    def session(self) -> Iterator[None]:
        """What evaluation needs around it; everything below is to be called inside. May be nested."""
        with _session:
            before = PLACES.copy_path, MACHINE.max_depth, MACHINE.depth, MACHINE.nesting
            around = CURRENT.sources, CURRENT.io
            PLACES.copy_path = self.settings.copy_path
            CURRENT.sources, CURRENT.io = self.sources, self.io
            MACHINE.max_depth = self.settings.max_call_depth
            try:
                yield
            finally:
                PLACES.copy_path, MACHINE.max_depth, MACHINE.depth, MACHINE.nesting = before
                CURRENT.sources, CURRENT.io = around

    def string(self, text: str, base: str, name: str = "«string»", scope: Mapping[str, Value] | None = None) -> Value:
        """The value of a text. Relative paths start from `base`; `scope` has further variables."""
        source = self.sources.string(text, base, name)
        return self._compiled(source, text, scope).evaluate(_env(scope))

    def file(self, path: str) -> Value:
        """The value of a file, or of `default.nix` in a directory; evaluated once."""
        value: Value = self._imported.get(path)
        if value is None and path not in self._imported:
            real = self.io.resolve(path)
            if self.io.kind(real) == "directory":
                real = self.io.resolve(real.rstrip("/") + "/default.nix")
            if real in self._imported:
                value = self._imported[real]
            else:
                value = self._file_node(real).evaluate(TOP)
                self._imported[real] = value
            self._imported[path] = value
        return value

    def file_with_scope(self, path: str, scope: Mapping[str, Value]) -> Value:
        """The value of a file in which the names of `scope` are variables; not kept."""
        real = self.io.resolve(path)
        if self.io.kind(real) == "directory":
            real = self.io.resolve(real.rstrip("/") + "/default.nix")
        source = self.sources.file(real)
        return self._compiled(source, self.io.read(real).decode("latin-1"), scope).evaluate(_env(scope))

    def forget_files(self) -> None:
        """Files are read again when they are needed again."""
        self._imported.clear()

    def position_value(self, position: int) -> Value:
        """A position as the set that `__curPos` and `unsafeGetAttrPos` give; null where it is in no file."""
        from tvix.eval.error_report import locate

        place = locate(self.sources, self.io, position)
        if place is None or place.source.path is None:
            return None
        return {"file": place.source.path, "line": place.line, "column": place.column}

    def _file_node(self, path: str) -> Node:
        source = self.sources.file(path)
        kept = self.settings.code_files
        if kept is None:
            return self._compiled(source, self.io.read(path).decode("latin-1"), None)
        data = self.io.read(path)
        piece = kept.get(data)
        if piece is None:
            piece = self._resolved(source, data.decode("latin-1"), None, lazy=True)
            kept.put(data, piece)
        return self._compiler(source).compile(piece)

    def _compiled(self, source: Source, text: str, scope: Mapping[str, Value] | None) -> Node:
        return self._compiler(source).compile(self._resolved(source, text, scope, lazy=False))

    def _compiler(self, source: Source) -> Compiler:
        return Compiler(self.surroundings, source.base, source.position(0))

    def _resolved(self, source: Source, text: str, scope: Mapping[str, Value] | None, *, lazy: bool) -> Any:
        from tvix.eval.parser import parse

        tree = parse(text, source.position(0), pipes=self.settings.pipe_operators)
        names = None if scope is None else Scope({name: index for index, name in enumerate(scope)}, None)
        resolver = Resolver(self.registry.globals, self.registry.arities, lazy, source.position(0))
        return resolver.resolve(tree, names)

    def _explain_assertion(self, position: int) -> str:
        from tvix.eval.error_report import condition_text

        return condition_text(self.sources, self.io, position)


def _env(scope: Mapping[str, Value] | None) -> Env:
    return TOP if scope is None else Env(list(scope.values()), None, None)


__all__ = ["Evaluator", "Settings"]
