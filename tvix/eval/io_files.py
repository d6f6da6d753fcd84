"""The machine's own files."""

from __future__ import annotations

import posix
import time

from tvix.eval import symlinks
from tvix.eval.errors import FileProblem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.io import FileKind, Variables

_KINDS: Final[dict[int, FileKind]] = {0o100000: "regular", 0o040000: "directory", 0o120000: "symlink"}
_TYPE_BITS: Final = 0o170000
_ABSENT: Final = (2, 20)
"""ENOENT and ENOTDIR."""
_PIECE: Final = 1 << 20


class FileIO:
    """An `EvalIO` of the file system below `/`. The environment is what it is given; a path has one character per byte."""

    def __init__(self, environment: Variables | None = None) -> None:
        self._environment: Variables = {} if environment is None else environment
        self._directories: dict[str, str] = {"": "", "/": "/"}
        """Directories that were resolved. That none of them moves while a program is evaluated is assumed."""

    def kind(self, path: str) -> FileKind | None:
        try:
            mode = posix.lstat(path.encode("latin-1")).st_mode
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise _problem("getting status of", path, error) from None
        except ValueError:  # a NUL
            return None
        return _KINDS.get(mode & _TYPE_BITS, "unknown")

    def resolve(self, path: str) -> str:
        known = self._directories.get(path)
        if known is not None:
            return known
        parent, _, name = path.rpartition("/")
        place = self._directories.get(parent)
        if place is None:
            whole = symlinks.resolve(self, path)
            self._directories[parent] = symlinks.resolve(self, parent)
            return whole
        here = f"{place}/{name}" if place != "/" else f"/{name}"
        return symlinks.resolve(self, path) if name == ".." or self.kind(here) == "symlink" else here

    def read(self, path: str) -> bytes:
        try:
            descriptor = posix.open(path.encode("latin-1"), posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
        except OSError as error:
            raise _problem("opening file", path, error) from None
        except ValueError:
            raise FileProblem(f"opening file '{path}': a path can't hold the character NUL") from None
        try:
            size = posix.fstat(descriptor).st_size
            pieces: list[bytes] = []
            piece = posix.read(descriptor, size + 1 if size < _PIECE else _PIECE)
            if len(piece) == size:  # one byte more was asked for
                return piece
            while piece:
                pieces.append(piece)
                piece = posix.read(descriptor, _PIECE)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        except OSError as error:
            raise _problem("reading from file", path, error) from None
        finally:
            posix.close(descriptor)

    def list(self, path: str) -> dict[str, FileKind]:
        found: dict[str, FileKind] = {}
        try:
            with posix.scandir(path.encode("latin-1")) as entries:
                for entry in entries:
                    kind: FileKind = "unknown"
                    if entry.is_symlink():
                        kind = "symlink"
                    elif entry.is_dir(follow_symlinks=False):
                        kind = "directory"
                    elif entry.is_file(follow_symlinks=False):
                        kind = "regular"
                    found[entry.name.decode("latin-1")] = kind
        except OSError as error:
            raise FileProblem(f"reading directory {path}: {error.strerror}") from None
        except ValueError:
            raise FileProblem(f"reading directory {path}: a path can't hold the character NUL") from None
        return found

    def read_link(self, path: str) -> str:
        try:
            return posix.readlink(path.encode("latin-1")).decode("latin-1")
        except OSError as error:
            raise _problem("reading symbolic link", path, error) from None

    def environment(self, name: str) -> str:
        return self._environment.get(name, "")

    def now(self) -> int:
        return int(time.time())


def _problem(action: str, path: str, error: OSError) -> FileProblem:
    return FileProblem(f"{action} '{path}': {error.strerror}")
