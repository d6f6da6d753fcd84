"""Compiles the evaluator with mypyc, as one group; everything else about the package is in pyproject.toml.

`python setup.py build_ext --inplace` puts the compiled modules beside their sources, which then shadow them: `make compile` does it
again whenever a source has changed. Without mypyc the same sources run as they are.
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
UNCOMPILED = {
    "tvix/eval/annotations.py",  # decorators that do nothing
    "tvix/eval/code_files.py",  # an interface
    "tvix/eval/errors.py",  # exceptions whose base isn't compiled
    "tvix/eval/io.py",  # an interface
    "tvix/eval/strings.py",  # a subclass of str
}


def modules() -> list[str]:
    """The sources of the group, relative to this file."""
    found = [str(path.relative_to(HERE)) for path in sorted(HERE.glob("tvix/eval/**/*.py"))]
    return [path for path in found if path not in UNCOMPILED and not path.endswith("/__init__.py")]


def extensions() -> list[object]:
    """What setuptools builds."""
    if os.environ.get("TVIX_PURE"):
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        return []
    made = mypycify(modules(), group_name="tvix", opt_level="3")
    for extension in made:
        extension.extra_compile_args = [*extension.extra_compile_args, "-include", str(HERE / "packaging" / "mypyc_deallocation.h")]
    return list(made)


setup(ext_modules=extensions())
