"""What the program starts with in trees that boot: modules come straight out of the archive.

PyInstaller's own finder goes through `sys.path` for each of two hundred modules, and opens the archive as often. This one looks a
module's name up in the archive's table of contents, and reads it by a descriptor that stays open. It stands before the others,
which still find what isn't there: compiled modules, and the library that the interpreter itself starts with.
"""

from __future__ import annotations

import marshal
import posix
import sys
import zlib
from _frozen_importlib import ModuleSpec

from pyimod02_importers import pyz_archive  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_PACKAGE, _NAMESPACE = 1, 3
_NOTHING = (_NAMESPACE, 0, 0)
_contents: dict[str, tuple[int, int, int]] = pyz_archive.toc
_begin: int = pyz_archive._start_offset
_archive = posix.open(pyz_archive._filename, posix.O_RDONLY | posix.O_CLOEXEC)
_directory: str = sys._MEIPASS  # type: ignore[attr-defined]


class Direct:
    """A finder and a loader, for `sys.meta_path`."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """The module of that name, None where the archive has none."""
        kind, _, _ = _contents.get(name, _NOTHING)
        if kind == _NAMESPACE:
            return None
        place = f"{_directory}/{name.replace('.', '/')}"
        if kind != _PACKAGE:
            return ModuleSpec(name, Direct, origin=place)  # type: ignore[arg-type]
        spec = ModuleSpec(name, Direct, origin=place, is_package=True)  # type: ignore[arg-type]
        spec.submodule_search_locations = [place]
        return spec

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """As usual."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Run its code."""
        _, offset, length = _contents[module.__name__]
        exec(marshal.loads(zlib.decompress(posix.pread(_archive, length, _begin + offset))), module.__dict__)  # noqa: S102, S302


sys.meta_path.insert(0, Direct)

from appliance.__main__ import run  # noqa: E402

sys.exit(run())
