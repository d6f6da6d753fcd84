"""What goes into each frozen tree: the lists that `tvix.spec` freezes by.

Three trees from one program. `host` is one file with everything. `initrd-minimal` is a directory that boots machines: without
what its PID 1 and mount process don't use, and without PyInstaller's run-time hooks, which cost half of the start.
`initrd-builder` adds what building needs. Each is held to its lists by tests/unit/packaging, and to working at all by running
`tvix selftest` in it.
"""

from __future__ import annotations

import fnmatch
from typing import NamedTuple

NEVER = (
    "curses",
    "doctest",
    "grpc_tools",
    "lib2to3",
    "pip",
    "pkg_resources",
    "pydoc",
    "readline",
    "setuptools",
    "tkinter",
    "tvix.testing",
    "unittest",
    "zstandard._cffi",
    "zstandard.backend_cffi",
)
"""In no tree: tools for developing, and second implementations of what a tree has already."""

_NOT_IN_INITRD = (
    "_bz2",
    "_decimal",
    "_hashlib",
    "_lzma",
    "_pydecimal",
    "_ssl",
    "_uuid",
    "appliance.cli.image",
    "appliance.cli.tls",
    "appliance.ui",
    "asyncio",
    "attr",
    "bz2",
    "cffi",
    "cryptography",
    "csv",
    "decimal",
    "elftools",
    "email",
    "encodings.idna",
    "google",
    "grpc_health",
    "grpc_reflection",
    "http",
    "idna",
    "initrd.cpio",
    "initrd.elf",
    "initrd.image",
    "initrd.modules",
    "lmdb",
    "lzma",
    "multiprocessing",
    "outcome",
    "pdb",
    "pyexpat",
    "pyfuse3",
    "pygments",
    "rich",
    "sniffio",
    "sortedcontainers",
    "ssl",
    "statistics",
    "tarfile",
    "trio",
    "tvix.grpc_api",
    "tvix.mount.engines.pyfuse3",
    "tvix.mount.engines.pyfuse3_answers",
    "tvix.mount.engines.pyfuse3_attending",
    "tvix.proto",
    "uuid",
    "xml",
    "zipfile",
    "zstandard",
)
"""What a machine that mounts a store and runs a program never imports."""

_DROPPED_FILES = (
    "*_codecs_*",
    "*_multibyte*",
    "*roots.pem",
    "*unicodedata*",
    "libbz2*",
    "libcrypto*",
    "libexpat*",
    "liblzma*",
    "libssl*",
    "libuuid*",
)

_LATE = (
    "_cffi_backend",
    "array",
    "blake3",
    "contextvars",
    "datetime",
    "errno",
    "functools",
    "inspect",
    "logging",
    "math",
    "pkgutil",
    "select",
    "selectors",
    "socket",
    "string",
    "textwrap",
    "threading",
    "traceback",
)
"""Modules that compiled code imports, where no analysis of Python sees it."""

_CHUNKER = ("pyfastcdc.cy", "pyfastcdc.cy.constants")
"""Compiled code that compiled code imports. pyfastcdc cuts in pure Python, with no more than a warning, where it isn't found."""

_ENCODINGS = ("__init__", "aliases", "ascii", "latin_1", "utf_8")


class Tree(NamedTuple):
    """One frozen tree. `kept_encodings` are those left in the library that the interpreter starts with; empty means all."""

    name: str
    one_file: bool
    excludes: tuple[str, ...] = ()
    dropped_files: tuple[str, ...] = ()
    hidden_imports: tuple[str, ...] = ()
    run_time_hooks: bool = True
    optimize: int = 0
    kept_encodings: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    def drops(self, name: str) -> bool:
        """Whether a file that the analysis found stays out."""
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.dropped_files)


_PORTABLE_ENGINE = ("pyfuse3._pyfuse3", "trio")
"""What pyfuse3, compiled, imports."""

HOST = Tree("host", one_file=True, hidden_imports=(*_CHUNKER, *_PORTABLE_ENGINE))

MINIMAL = Tree(
    "initrd-minimal",
    one_file=False,
    excludes=(*_NOT_IN_INITRD, "_sqlite3", "sqlite3"),
    dropped_files=_DROPPED_FILES,
    hidden_imports=(*_LATE, *_CHUNKER),
    run_time_hooks=False,
    optimize=2,
    kept_encodings=_ENCODINGS,
)

BUILDER = MINIMAL._replace(
    name="initrd-builder",
    excludes=_NOT_IN_INITRD,
    hidden_imports=(*MINIMAL.hidden_imports, "sqlite3"),
    programs=("systemd-nspawn",),
)

TREES = {tree.name: tree for tree in (HOST, MINIMAL, BUILDER)}
