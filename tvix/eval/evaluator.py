"""An evaluator: builtins, what may be looked at, and the files that were read.

    evaluator = Evaluator(NoIO())
    value = evaluator.string("{ a = 1 + 1; }.a", base="/")          # 2

Values come in weak head normal form. One evaluation runs at a time in a process (`Evaluator.session`), on a stack as deep as
`stack.on_deep_stack` makes it; evaluators share nothing but the counters of `values.MACHINE`.
"""

from __future__ import annotations

from _thread import RLock

from tvix.eval import symlinks
from tvix.eval.builtins.registry import Registry, standard
from tvix.eval.coercion import PLACES
from tvix.eval.compiler import Compiler, Surroundings
from tvix.eval.core_packages import WithCorePackages
from tvix.eval.errors import EvalError
from tvix.eval.positions import CURRENT, Source, Sources
from tvix.eval.resolver import Resolver, Scope
from tvix.eval.search_path import SearchPath
from tvix.eval.values import MACHINE, TOP, UNDEFINED, Env, Node, Thunk, too_deep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from typing import Any

    from tvix.eval.code_files import CodeFiles
    from tvix.eval.functions import Primitive
    from tvix.eval.io import EvalIO
    from tvix.eval.observer import Observer
    from tvix.eval.syntax import Expression
    from tvix.eval.values import Value

_session = RLock()


class Settings:
    """What an evaluator is told once. `search_path` has (prefix, path) pairs, as `-I` gives them; `home` is what `~` means."""

    def __init__(self) -> None:
        self.pure = False
        self.restrict = False
        self.search_path: list[tuple[str, str]] = []
        self.home = ""
        self.working_directory = "/"
        """Where paths of the search path start from that don't begin with a slash."""
        self.system = "x86_64-linux"
        self.store_dir = "/nix/store"
        self.max_call_depth = 10_000
        self.trace_verbose = False
        self.abort_on_warn = False
        self.pipe_operators = True
        self.log: Callable[[str], object] = lambda _line: None
        """What `trace` and `warn` say, one message each."""
        self.code_files: CodeFiles | None = None
        """Where resolved code is kept between runs."""
        self.copy_path: Callable[[str], str] | None = None
        """See `coercion.Places`."""
        self.realise: Callable[[str, AbstractSet[str]], str] | None = None
        """From a path and its context to the path where it can be read, once what it depends on is built."""
        self.references: Callable[[str, str], AbstractSet[str]] | None = None
        """From the path of a file and its contents to the context of those contents."""
        self.primitives: Callable[[Evaluator], Sequence[Primitive]] | None = None
        """Builtins beside or instead of the standard ones."""
        self.observer: Observer | None = None
        """Who looks on."""


class Evaluator:
    """See above."""

    def __init__(self, io: EvalIO, settings: Settings | None = None) -> None:
        self.io: EvalIO = WithCorePackages(io)
        self.settings = settings or Settings()
        self.sources = Sources()
        self.search_path = SearchPath(self.io, self.settings.working_directory, self.settings.log, pure=self.settings.pure)
        self.registry: Registry = standard(self)
        if self.settings.primitives is not None:
            self.registry.add(self.settings.primitives(self))
        self.surroundings = Surroundings(self.registry.globals, self.registry.primitives, self.settings.home)
        self.surroundings.explain_assertion = self._explain_assertion
        self.surroundings.describe_position = self.position_value
        self.surroundings.observer = self.settings.observer
        self._imported: dict[str, Value] = {}
        self._begun: dict[str, Node] = {}
        """Files whose evaluation hasn't ended, or has failed: one that imports itself is read once."""
        self._circumstances = ""
        """What the resolved code of a file depends on besides its text."""

    def session(self) -> Session:
        """What evaluation needs around it, for `with`; everything below is to be called inside. May be nested."""
        return Session(self)

    def string(self, text: str, base: str, name: str = "«string»", scope: Mapping[str, Value] | None = None) -> Value:
        """The value of a text. Relative paths start from `base`; `scope` has further variables."""
        source = self.sources.string(text, base, name)
        return self._compiled(source, text, scope).evaluate(_env(scope))

    def later(self, text: str, base: str, scope: Mapping[str, Value] | None = None) -> Value:
        """The value of a text, which is read now and evaluated when it is needed."""
        return Thunk(self._compiled(self.sources.string(text, base), text, scope), _env(scope), None)

    def file(self, path: str) -> Value:
        """The value of a file, or of `default.nix` in a directory; evaluated once."""
        value: Value = self._imported.get(path, UNDEFINED)
        if value is UNDEFINED:
            place = symlinks.program(self.io, path)
            value = self._imported.get(place, UNDEFINED)
            if value is UNDEFINED:
                node = self._begun.get(place)
                if node is None:
                    node = self._begun[place] = self._file_node(place)
                value = self._evaluated(node, TOP, place)
                self._imported[place] = value
                self._begun.pop(place, None)
            self._imported[path] = value
        return value

    def main_file(self, path: str) -> Value:
        """The same for the file that an evaluation begins with: not kept, and traces don't name it."""
        return self._file_node(symlinks.program(self.io, path)).evaluate(TOP)

    def file_with_scope(self, path: str, scope: Mapping[str, Value]) -> Value:
        """The value of a file in which the names of `scope` are variables; not kept."""
        place = symlinks.program(self.io, path)
        source = self.sources.file(place)
        return self._evaluated(self._compiled(source, self.io.read(place).decode("latin-1"), scope), _env(scope))

    def tree(self, source: Source, text: str, *, check: bool) -> Expression:
        """The tree of a text. With `check`, all its variables have to be bound. Raises `EvalError`."""
        from tvix.eval.parser import parse

        tree = parse(text, source.position(0), pipes=self.settings.pipe_operators)
        if check:
            Resolver(self.registry.globals, self.registry.arities, False, source.position(0)).resolve(tree, None)
        return tree

    def code(self, source: Source, text: str) -> Any:
        """The resolved code of a text. Raises `EvalError`."""
        return self._resolved(source, text, None, lazy=False)

    def node(self, source: Source, text: str) -> Node:
        """What a text is compiled to. Raises `EvalError`."""
        return self._compiled(source, text, None)

    def forget_files(self) -> None:
        """Files are read again when they are needed again."""
        self._imported.clear()
        self._begun.clear()

    def position_value(self, position: int) -> Value:
        """A position as the set that `__curPos` and `unsafeGetAttrPos` give; null where it is in no file."""
        from tvix.eval.error_report import locate

        place = locate(self.sources, self.io, position)
        if place is None or place.source.path is None:
            return None
        return {"file": place.source.path, "line": place.line, "column": place.column}

    def _evaluated(self, node: Node, env: Env, path: str = "") -> Value:
        """An imported file counts as a call: files that import themselves come to an end."""
        MACHINE.depth += 1
        if MACHINE.depth > MACHINE.max_depth:
            too_deep()
        try:
            value: Value = node.evaluate(env)
        except EvalError as error:
            if path:
                error.while_(0, f"while evaluating the file '{path}':")
            raise
        MACHINE.depth -= 1
        return value

    def _file_node(self, path: str) -> Node:
        source = self.sources.file(path)
        node = self._file_code(source, path)
        observer = self.settings.observer
        if observer is None:
            return node
        from tvix.eval.nodes.observed import ObservedFile

        return ObservedFile(node, path, source.position(0), observer)

    def _file_code(self, source: Source, path: str) -> Node:
        kept = self.settings.code_files
        if kept is None:
            return self._compiled(source, self.io.read(path).decode("latin-1"), None)
        data = self.io.read(path)
        if not self._circumstances:
            builtins = self.registry
            self._circumstances = repr((self.settings.pipe_operators, sorted(builtins.globals), sorted(builtins.arities.items())))
        piece = kept.get(self._circumstances, data)
        if piece is None:
            piece = self._resolved(source, data.decode("latin-1"), None, lazy=True)
            kept.put(self._circumstances, data, piece)
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

        return condition_text(self.sources, self.io, position, self.settings.home)


class Session:
    """See `Evaluator.session`."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def __enter__(self) -> None:
        _session.acquire()
        evaluator = self._evaluator
        self._copy_path = PLACES.copy_path
        self._sources, self._io = CURRENT.sources, CURRENT.io
        self._counts = int(MACHINE.max_depth), int(MACHINE.depth), int(MACHINE.nesting)
        PLACES.copy_path = evaluator.settings.copy_path
        CURRENT.sources, CURRENT.io = evaluator.sources, evaluator.io
        MACHINE.max_depth = evaluator.settings.max_call_depth + 1

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        PLACES.copy_path = self._copy_path
        CURRENT.sources, CURRENT.io = self._sources, self._io
        MACHINE.max_depth, MACHINE.depth, MACHINE.nesting = self._counts
        _session.release()


def _env(scope: Mapping[str, Value] | None) -> Env:
    return TOP if scope is None else Env(list(scope.values()), None, None)


__all__ = ["Evaluator", "Session", "Settings"]
