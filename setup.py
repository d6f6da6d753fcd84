"""Compiles the evaluator with mypyc, as one group; everything else about the package is in pyproject.toml.

`python setup.py build_ext --inplace` puts the compiled modules beside their sources, which they shadow then, and a record of what
they were made of, by which old ones are told (`tvix/eval/uncompiled.py`); `make dev` does it again whenever a source has changed.
With TVIX_PURE=1, or without mypyc, nothing is compiled and the same sources run as they are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "tvix/eval"
UNCOMPILED = {
    "__init__.py",
    "annotations.py",  # decorators that do nothing
    "code_files.py",  # an interface
    "context_string.py",  # a subclass of str
    "errors.py",  # exceptions, whose base isn't compiled
    "io.py",  # an interface
    "regex/problems.py",  # exceptions
    "uncompiled.py",  # decides whether the compiled modules are used
}
DESCRIBING = {"egg_info", "dist_info", "sdist", "--version", "--name"}
"""Commands that compile nothing."""


def sources() -> list[str]:
    """The modules of the group, relative to `PACKAGE`."""
    found = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]
    compiled = [path for path in found if path not in UNCOMPILED and not path.endswith("/__init__.py")]
    return [path for path in compiled if not path.startswith("lint/")]  # which reads trees and evaluates nothing


class BuildExtensions(build_ext):
    """As usual; beside the sources, the record is empty until everything is there."""

    def run(self) -> None:
        if not self.inplace or not self.extensions:
            super().run()
            return
        sys.path.insert(0, str(HERE))
        from tvix.eval.uncompiled import RECORD, describe_source

        modules = sources()
        record = PACKAGE / RECORD
        record.write_text("")
        kept = {str(Path(module).with_suffix("")) for module in modules}
        for old in PACKAGE.rglob("*.so"):
            if str(old.relative_to(PACKAGE)).partition(".")[0] not in kept:
                old.unlink()
        lines = [describe_source(f"{PACKAGE}/{module}", module) for module in modules]
        super().run()
        unfinished = record.with_suffix(".part")
        unfinished.write_text("".join(f"{line}\n" for line in lines))
        unfinished.rename(record)


def extensions() -> list[object]:
    """What setuptools builds."""
    if os.environ.get("TVIX_PURE") or DESCRIBING & set(sys.argv[1:]):
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        return []
    made = mypycify([f"tvix/eval/{module}" for module in sources()], group_name="tvix", opt_level="3", strip_asserts=False)
    for extension in made:
        if extension.name == "tvix__mypyc":
            extension.sources.append("packaging/arenas.c")
        # Hidden, what mypyc exports needlessly can be inlined: a tenth of the time.
        options = ["-fvisibility=hidden", "-include", str(HERE / "packaging/mypyc_deallocation.h")]
        extension.extra_compile_args = [*extension.extra_compile_args, *options]
    return list(made)


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})
