"""Files that are held in memory: for tests, and for programs that evaluate what never was in a file."""

from __future__ import annotations

from tvix.eval import symlinks
from tvix.eval.errors import FileProblem
from tvix.eval.paths import normal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from tvix.eval.io import FileKind, Variables


class MemoryIO:
    """An `EvalIO` of `files`, contents by absolute path, and of `links`, targets by absolute path. The directories are those that
    the paths need; `/` is always there.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        links: Mapping[str, str] | None = None,
        environment: Variables | None = None,
        now: int = 0,
    ) -> None:
        self._files = {normal(path): contents for path, contents in files.items()}
        self._links = {normal(path): target for path, target in (links or {}).items()}
        self._environment: Variables = {} if environment is None else environment
        self._now = now
        self._directories: dict[str, dict[str, FileKind]] = {"/": {}}
        for path in self._files:
            self._enter(path, "regular")
        for path in self._links:
            self._enter(path, "symlink")

    def _enter(self, path: str, kind: FileKind) -> None:
        while path != "/":
            parent, _, name = path.rpartition("/")
            entries = self._directories.setdefault(parent or "/", {})
            entries.setdefault(name, kind)
            path, kind = parent or "/", "directory"

    def kind(self, path: str) -> FileKind | None:
        if path in self._directories:
            return "directory"
        parent, _, name = path.rpartition("/")
        return self._directories.get(self._parent(parent), {}).get(name)

    def _parent(self, path: str) -> str:
        return path if path in self._directories else self.resolve(path) if path else "/"

    def resolve(self, path: str) -> str:
        if path in self._directories:
            return path
        return symlinks.resolve(self, path)

    def read(self, path: str) -> bytes:
        place = self.resolve(path)
        contents = self._files.get(place)
        if contents is not None:
            return contents
        if place in self._directories:
            raise FileProblem(f"reading from file '{path}': Is a directory")
        raise FileProblem(f"opening file '{path}': No such file or directory")

    def list(self, path: str) -> dict[str, FileKind]:
        place = self.resolve(path)
        entries = self._directories.get(place)
        if entries is not None:
            return dict(entries)
        raise FileProblem(f"reading directory {path}: {'Not a directory' if place in self._files else 'No such file or directory'}")

    def read_link(self, path: str) -> str:
        parent, _, name = path.rpartition("/")
        place = self._parent(parent)
        target = self._links.get(f"{place}/{name}" if place != "/" else f"/{name}")
        if target is None:
            raise FileProblem(f"reading symbolic link '{path}': Invalid argument")
        return target

    def environment(self, name: str) -> str:
        return self._environment.get(name, "")

    def now(self) -> int:
        return self._now
