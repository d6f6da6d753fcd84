"""What goes into each frozen tree: the lists that `tvix.spec` freezes by.

Four trees from one program. `host` is one file with everything. `initrd-minimal` is a directory that boots machines: without
what its PID 1 and mount process don't use, and without PyInstaller's run-time hooks, which cost half of the start.
`initrd-tiny` boots machines whose store is ours: it speaks the framed protocol, and has no gRPC. `initrd-builder` adds what
building needs. Each is held to its lists by tests/unit/packaging, and to working at all by running `tvix selftest` in it.
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
    "prompt_toolkit",
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
    "wcwidth",
    "xml",
    "zipfile",
    "zstandard",
)
"""What a machine that mounts a store and runs a program never imports."""

_EVALUATOR = (
    "appliance.cli.eval",
    "appliance.cli.evaluation",
    "appliance.cli.evaluation_limits",
    "appliance.cli.lint",
    "appliance.cli.looking_on",
    "appliance.cli.nix_instantiate",
    "appliance.cli.nix_settings",
    "appliance.cli.parse",
    "appliance.cli.repl",
    "appliance.ui.repl",
    "tvix.eval",
    "tvix.serde",
)
"""The language and its commands: where nothing is built, nothing is evaluated."""

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

_UNUSED_LIBRARY = ("locale", "ntpath", "sre_compile", "sre_constants", "sre_parse")
"""Of the library that the interpreter starts with, what nothing on Linux asks for."""

_ENCODINGS = ("__init__", "aliases", "ascii", "latin_1", "utf_8")


class Tree(NamedTuple):
    """One frozen tree. `kept_encodings` are those left in the library that the interpreter starts with, and
    `unused_library` what else is left out of it; empty means all. Without `library_lines`, code that isn't ours
    has no line numbers; with `light_typing`, what stands in `packaging/light` takes the place of the library's `typing`."""

    name: str
    one_file: bool
    excludes: tuple[str, ...] = ()
    dropped_files: tuple[str, ...] = ()
    hidden_imports: tuple[str, ...] = ()
    run_time_hooks: bool = True
    optimize: int = 0
    kept_encodings: tuple[str, ...] = ()
    unused_library: tuple[str, ...] = ()
    library_lines: bool = True
    light_typing: bool = False
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
    excludes=(*_NOT_IN_INITRD, *_EVALUATOR, "_sqlite3", "sqlite3"),
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

_TINY_OUT = (
    "_cffi_backend",
    "_queue",
    "_strptime",
    "appliance.cli",
    "appliance.roles.mount_child",
    "appliance.roles.namespace",
    "appliance.roles.run",
    "appliance.roles.store",
    "argparse",
    "ast",
    "calendar",
    "copy",
    "dataclasses",
    "datetime",
    "difflib",
    "dis",
    "fnmatch",
    "getopt",
    "gettext",
    "grpc",
    "hashlib",
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    "importlib.metadata",
    "importlib.readers",
    "importlib.resources",
    "inspect",
    "ipaddress",
    "logging",
    "nacl",
    "optparse",
    "pathlib",
    "pickle",
    "pprint",
    "pyfastcdc",
    "queue",
    "quopri",
    "random",
    "shutil",
    "subprocess",
    "tempfile",
    "textwrap",
    "tracemalloc",
    "tvix.castore.blobs.pack",
    "tvix.castore.directories.pack",
    "tvix.castore.export",
    "tvix.castore.grpc_calls",
    "tvix.castore.grpc_channel",
    "tvix.castore.grpc_errors",
    "tvix.castore.grpc_import",
    "tvix.castore.grpc_watch",
    "tvix.castore.ingest",
    "tvix.castore.pack.index",
    "tvix.castore.pack.place",
    "tvix.castore.pack.reader",
    "tvix.castore.pack.rebuild",
    "tvix.castore.pack.store",
    "tvix.castore.pack.trim",
    "tvix.castore.pack.verify",
    "tvix.castore.pack.writer",
    "tvix.castore.transfer.grpc_link",
    "tvix.castore.transfer.hot_set_pack",
    "tvix.mount.engines.choice",
    "tvix.nix_compat.nar.diagnosis",
    "tvix.nix_compat.nar.reader",
    "tvix.nix_compat.nar.writer",
    "tvix.nix_compat.narinfo",
    "tvix.store.closure_roots.pack",
    "tvix.store.exporting",
    "tvix.store.importing",
    "tvix.store.nar_hash",
    "tvix.store.nar_hash_process",
    "tvix.store.path_info_json",
    "tvix.store.path_infos.pack",
    "tvix.store.verify",
    "urllib",
)
"""What a machine never imports that mounts a store of ours and runs a program: gRPC, packs, the command line, and what these
bring."""

_TLS = ("_ssl", "ssl")
_TLS_LIBRARIES = ("libcrypto*", "libssl*")

TINY = MINIMAL._replace(
    name="initrd-tiny",
    excludes=(*(name for name in MINIMAL.excludes if name not in (*_TLS, "zstandard")), *_TINY_OUT),
    # The bootloader brings libz, too, where the loader looks for it anyway.
    dropped_files=(*(name for name in _DROPPED_FILES if name not in _TLS_LIBRARIES), "libz.so*"),
    unused_library=_UNUSED_LIBRARY,
    library_lines=False,
    light_typing=True,
    hidden_imports=("array", "blake3", "errno", "math", "select", "socket", "ssl", "threading", "zstandard"),
)

TREES = {tree.name: tree for tree in (HOST, MINIMAL, TINY, BUILDER)}
