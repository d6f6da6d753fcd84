"""Symlinks in paths, followed component by component through an `EvalIO`: for implementations that know no quicker way."""

from __future__ import annotations

from tvix.eval.errors import FileProblem
from tvix.eval.paths import normal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.io import EvalIO

MAX_LINKS: Final = 1000


def resolve(io: EvalIO, path: str) -> str:
    """`path` without any symlink in it; what isn't there stays as it is. Raises `FileProblem` where links only lead to links."""
    done = ""
    waiting = [name for name in path.split("/") if name][::-1]
    links = 0
    there = True
    while waiting:
        name = waiting.pop()
        if name == "..":
            done = done.rpartition("/")[0]
            there = True
            continue
        here = f"{done}/{name}"
        kind = io.kind(here) if there else None
        if kind != "symlink":
            there = kind == "directory"
            done = here
            continue
        links += 1
        if links > MAX_LINKS:
            raise FileProblem(f"infinite symlink recursion in path '{path}'")
        target = io.read_link(here)
        if target.startswith("/"):
            done = ""
        waiting.extend([part for part in target.split("/") if part and part != "."][::-1])
    return done or "/"


def program(io: EvalIO, path: str) -> str:
    """The file that a path to be imported stands for, `default.nix` in a directory. A symlink at its end is followed, those before
    it are left as they were written. Raises `FileProblem`.
    """
    kind: str | None = "directory"
    links = 0
    while path != "/":
        parent, _, name = path.rpartition("/")
        links += 1
        if links >= MAX_LINKS:
            raise FileProblem(f"too many symbolic links encountered while traversing the path '{path}'")
        place = parent and io.resolve(parent)
        here = f"{place}/{name}" if place != "/" else f"/{name}"
        kind = io.kind(here)
        if kind is None:
            raise FileProblem(f"path '{here}' does not exist")
        if kind != "symlink":
            break
        target = io.read_link(here)
        path = normal(target if target.startswith("/") else f"{parent}/{target}")
        kind = "directory"
    return path if kind != "directory" else "/default.nix" if path == "/" else path + "/default.nix"
