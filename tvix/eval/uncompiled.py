"""Running the sources where compiled modules lie beside them.

Python prefers `values.cpython-311-….so` to `values.py`, whatever is in either. `python setup.py build_ext --inplace` therefore
leaves a record of what it compiled; where that differs from what is there now, nothing compiled is used. An installed or frozen
evaluator has no record, and nothing to compare.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Final

_PACKAGE: Final = "tvix.eval."
RECORD: Final = "compiled-from"
"""The record's name in this directory. A line each: modification time in ns, size, digest, and path from here; none of it while a
build is under way.
"""


class Sources:
    """A finder for `sys.meta_path` that knows the `.py` files of the evaluator, and nothing else."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG004  # as Python calls it
        """The module of that name."""
        if not name.startswith(_PACKAGE):
            return None
        from importlib.util import spec_from_file_location

        place = f"{_directory()}/{name.removeprefix(_PACKAGE).replace('.', '/')}"
        for file in (f"{place}.py", f"{place}/__init__.py"):
            try:
                posix.stat(file)
            except OSError:
                continue
            return spec_from_file_location(name, file)
        return None


def run_sources() -> None:
    """Have every module of the evaluator that isn't there yet come from its source."""
    if Sources not in sys.meta_path:
        sys.meta_path.insert(0, Sources)


def is_compiled() -> bool:
    """Whether the evaluator that runs is the compiled one."""
    from importlib import import_module

    return not str(import_module("tvix.eval.values").__file__).endswith(".py")


def distrust_old_modules() -> None:
    """Run the sources if some of them aren't what was compiled."""
    if "__file__" not in globals():  # frozen: there are no sources
        return
    try:
        descriptor = posix.open(f"{_directory()}/{RECORD}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return
    try:
        lines = posix.read(descriptor, 1 << 20).decode().splitlines()
    finally:
        posix.close(descriptor)
    if not lines or not all(_is_unchanged(line) for line in lines):
        run_sources()


def describe_source(path: str, name: str) -> str:
    """The line of the record for a source at `path`, relative to this package `name`."""
    state = posix.stat(path)
    return f"{state.st_mtime_ns} {state.st_size} {_digest(path)} {name}"


def _is_unchanged(line: str) -> bool:
    """Times tell at once; contents count."""
    time, size, digest, name = line.split(" ", 3)
    path = f"{_directory()}/{name}"
    try:
        state = posix.stat(path)
        if str(state.st_size) != size:
            return False
        return str(state.st_mtime_ns) == time or _digest(path) == digest
    except OSError:
        return False


def _digest(path: str) -> str:
    from hashlib import blake2b

    with open(path, "rb") as file:
        return blake2b(file.read(), digest_size=16).hexdigest()


def _directory() -> str:
    return __file__.rpartition("/")[0]
