"""What an evaluation may look at, as an interface: the evaluator itself opens nothing.

Paths are absolute, in normal form, one character per byte. Implementations: `io_files` (the machine's own), `io_memory` (a dict,
for tests and embedding), `NoIO` here. Restrictions (`--pure`, `--restrict`) are a decorator, `io_restricted`.
"""

from __future__ import annotations

from tvix.eval.errors import AccessForbidden, FileProblem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, Protocol

    FileKind = Literal["regular", "directory", "symlink", "unknown"]

    class Variables(Protocol):
        """An environment."""

        def get(self, name: str, default: str, /) -> str:
            """A variable, or `default` where it isn't set."""

    class EvalIO(Protocol):
        """All methods raise `FileProblem` where the system does, and `AccessForbidden` where they may not look."""

        def kind(self, path: str) -> FileKind | None:
            """What is at a path; a symlink at its end isn't followed. None where nothing is."""

        def resolve(self, path: str) -> str:
            """The path without any symlink in it. What isn't there stays as it is."""

        def read(self, path: str) -> bytes:
            """The contents of a file; symlinks are followed."""

        def list(self, path: str) -> dict[str, FileKind]:
            """The entries of a directory; symlinks to it are followed."""

        def read_link(self, path: str) -> str:
            """Where a symlink leads."""

        def environment(self, name: str) -> str:
            """A variable of the environment, empty where it isn't set."""

        def now(self) -> int:
            """Seconds since 1970."""


class NoIO:
    """Nothing can be looked at."""

    def kind(self, path: str) -> FileKind | None:
        raise AccessForbidden(f"access to absolute path '{path}' is forbidden in pure evaluation mode")

    def resolve(self, path: str) -> str:
        return path

    def read(self, path: str) -> bytes:
        raise AccessForbidden(f"access to absolute path '{path}' is forbidden in pure evaluation mode")

    def list(self, path: str) -> dict[str, FileKind]:
        raise AccessForbidden(f"access to absolute path '{path}' is forbidden in pure evaluation mode")

    def read_link(self, path: str) -> str:
        raise FileProblem(f"'{path}' is not a symlink")

    def environment(self, name: str) -> str:
        return ""

    def now(self) -> int:
        return 0
