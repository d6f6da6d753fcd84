"""Builtins that look at files, and the search path."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import attribute, list_of, plain_text, set_of
from tvix.eval.coercion import to_text
from tvix.eval.errors import AccessForbidden, EvalError, FileProblem
from tvix.eval.functions import Primitive
from tvix.eval.paths import normal
from tvix.eval.strings import with_context
from tvix.eval.values import UNDEFINED, Path, Thunk, force_thunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value

_PURPOSE = "while realising the context of a path"


def absolute_path(value: Value, context: set[str], purpose: str) -> str:
    """A path, or a string that is one, in normal form. Raises `EvalError`."""
    if type(value) is Thunk:
        try:
            value = force_thunk(value)
        except EvalError as error:
            error.while_(0, purpose)
            raise
    if type(value) is Path:
        return value.text
    text = to_text(value, context, False, False, purpose)
    if text.startswith("/"):
        return normal(text)
    problem = EvalError(f"string '{text}' doesn't represent an absolute path")
    problem.while_(0, purpose)
    raise problem


@final
class Files:
    """What these builtins share."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator

    def there(self, value: Value) -> str:
        """A path that can be looked at: what its context has to be built is built."""
        context: set[str] = set()
        path = absolute_path(value, context, _PURPOSE)
        if context:
            realise = self.evaluator.settings.realise
            try:
                if realise is None:
                    raise EvalError(f"cannot read '{path}': this evaluation has no store")
                return realise(path, context)
            except EvalError as error:
                error.while_(0, f"while realising the context of path '{path}'")
                raise
        return path

    def resolved(self, value: Value) -> str:
        """The same without symlinks in it."""
        path = self.there(value)
        try:
            place = self.evaluator.io.resolve(path)
            self.evaluator.io.kind(place)
        except EvalError as error:
            error.while_(0, f"while realising the context of path '{path}'")
            raise
        return place


@mypyc_attr(acyclic=True)
class FilePrimitive(Primitive):
    """A builtin that looks at files."""

    def __init__(self, name: str, arity: int, files: Files) -> None:
        super().__init__(name, arity)
        self.files = files


@final
@mypyc_attr(acyclic=True)
class Import(FilePrimitive):
    """`import path`."""

    def call1(self, first: Value) -> Value:
        return self.files.evaluator.file(self.files.there(first))


@final
@mypyc_attr(acyclic=True)
class ScopedImport(FilePrimitive):
    """`scopedImport scope path`: the attributes of the set are variables in the file."""

    def call2(self, first: Value, second: Value) -> Value:
        path = self.files.there(second)
        scope = set_of(first, "while evaluating the first argument passed to builtins.scopedImport")
        return self.files.evaluator.file_with_scope(path, scope)


@final
@mypyc_attr(acyclic=True)
class ReadFile(FilePrimitive):
    """`readFile path`: the bytes. What a file in the store refers to is the context of the string."""

    def call1(self, first: Value) -> Value:
        path = self.files.resolved(first)
        contents = self.files.evaluator.io.read(path)
        if b"\0" in contents:
            raise EvalError(f"the contents of the file '{path}' cannot be represented as a Nix string")
        references = self.files.evaluator.settings.references
        text = contents.decode("latin-1")
        return text if references is None else with_context(text, references(path, text))


@final
@mypyc_attr(acyclic=True)
class ReadDir(FilePrimitive):
    """`readDir path`: the kinds of its entries by their names."""

    def call1(self, first: Value) -> Value:
        return dict(self.files.evaluator.io.list(self.files.resolved(first)))


@final
@mypyc_attr(acyclic=True)
class ReadFileType(FilePrimitive):
    """`readFileType path`: regular, directory, symlink or unknown."""

    def call1(self, first: Value) -> Value:
        path = self.files.there(first)
        parent = path.rpartition("/")[0]
        io = self.files.evaluator.io
        if parent and io.resolve(parent) != parent:
            raise FileProblem(f"path '{_first_link(io.resolve, path)}' is a symlink")
        kind = io.kind(path)
        if kind is None:
            raise FileProblem(f"path '{path}' does not exist")
        return kind


def _first_link(resolve: Any, path: str) -> str:
    """The shortest beginning of a path that is a symlink."""
    place = ""
    for name in path.split("/")[1:]:
        place += "/" + name
        if resolve(place) != place:
            return place
    return path


@final
@mypyc_attr(acyclic=True)
class PathExists(FilePrimitive):
    """`pathExists path`: whether anything is there, a symlink that leads nowhere too. With a slash at its end, a directory."""

    def call1(self, first: Value) -> Value:
        if type(first) is Thunk:
            first = force_thunk(first)
        must_be_directory = isinstance(first, str) and first.endswith(("/", "/."))
        path = self.files.there(first)
        io = self.files.evaluator.io
        try:
            if must_be_directory or path == "/":
                return io.kind(io.resolve(path)) == "directory"
            parent, _, name = path.rpartition("/")
            place = io.resolve(parent) if parent else ""
            return io.kind(f"{place}/{name}" if place != "/" else f"/{name}") is not None
        except AccessForbidden:
            return False
        except EvalError as error:
            error.while_(0, f"while realising the context of path '{path}'")
            raise


@final
@mypyc_attr(acyclic=True)
class FindFile(FilePrimitive):
    """`findFile entries name`, which is what `<name>` means with `__nixPath` for the entries."""

    def call2(self, first: Value, second: Value) -> Value:
        entries: list[tuple[str, str]] = []
        for item in list_of(first, "while evaluating the first argument passed to builtins.findFile"):
            entries.append(self._entry(set_of(item, "while evaluating an element of the list passed to builtins.findFile")))
        name = plain_text(second, "while evaluating the second argument passed to builtins.findFile")
        return Path(self.files.evaluator.search_path.find(entries, name))

    def _entry(self, entry: dict[str, Any]) -> tuple[str, str]:
        here = "attribute of an element of the list passed to builtins.findFile"
        prefix = ""
        written: Value = entry.get("prefix", UNDEFINED)
        if written is not UNDEFINED:
            prefix = plain_text(written, f"while evaluating the `prefix` {here}")
        context: set[str] = set()
        place: Value = attribute(entry, "path", "in an element of the __nixPath")
        path = to_text(place, context, False, False, f"while evaluating the `path` {here}")
        realise = self.files.evaluator.settings.realise
        return prefix, realise(path, context) if context and realise is not None else path


@final
@mypyc_attr(acyclic=True)
class ToPath(Primitive):
    """`toPath text`: an absolute path in normal form, as a string."""

    def call1(self, first: Value) -> Value:
        context: set[str] = set()
        path = absolute_path(first, context, "while evaluating the first argument passed to builtins.toPath")
        return with_context(path, context)


@final
@mypyc_attr(acyclic=True)
class GetEnv(FilePrimitive):
    """`getEnv name`: empty for what isn't set."""

    def call1(self, first: Value) -> Value:
        name = plain_text(first, "while evaluating the first argument passed to builtins.getEnv")
        return self.files.evaluator.io.environment(name)


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    files = Files(evaluator)
    return [
        *(Import("import", 1, files), ScopedImport("scopedImport", 2, files), FindFile("findFile", 2, files)),
        *(ReadFile("readFile", 1, files), ReadDir("readDir", 1, files), ReadFileType("readFileType", 1, files)),
        *(PathExists("pathExists", 1, files), GetEnv("getEnv", 1, files), ToPath("toPath", 1)),
    ]


def constants(evaluator: Evaluator) -> list[tuple[str, object]]:
    """What this theme has that is no function."""
    settings = evaluator.settings
    entries = () if settings.pure else tuple([{"path": path, "prefix": prefix} for prefix, path in settings.search_path])
    found: list[tuple[str, object]] = [("nixPath", entries)]
    if not settings.pure:
        found.append(("currentTime", evaluator.io.now()))
    return found
