"""File system trees for tests: how to write one down, how to make it on disk, and fifty odd ones.

A tree is written as Python values: `{name: tree}` for a directory (made in that order, which is not the order of a NAR), bytes for
a file, `Executable`, `File`, `Link`. Names and targets are bytes, since that is what they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tvix.nix_compat.nar.reader import NarVisitor


class Executable(NamedTuple):
    """An executable file."""

    contents: bytes


class Link(NamedTuple):
    """A symbolic link."""

    target: bytes


class File(NamedTuple):
    """A file with a mode of its own; a NAR says executable where the owner may execute it."""

    contents: bytes
    mode: int


Tree = Mapping[bytes, "Tree"] | bytes | Executable | Link | File


def make_tree(path: Path, tree: Tree) -> Path:
    """Make `tree` at `path`, which must not exist, and say `path`."""
    _make(os.fsencode(path), tree)
    return path


def _make(path: bytes, tree: Tree) -> None:
    if isinstance(tree, Link):
        os.symlink(tree.target, path)
    elif isinstance(tree, bytes | Executable | File):
        contents = tree if isinstance(tree, bytes) else tree.contents
        mode = tree.mode if isinstance(tree, File) else 0o755 if isinstance(tree, Executable) else 0o644
        with open(path, "xb") as file:
            file.write(contents)
        os.chmod(path, mode)
    else:
        os.mkdir(path)
        for name, child in tree.items():
            _make(path + b"/" + name, child)


def visit_tree(tree: Tree, visitor: NarVisitor, name: bytes = b"") -> None:
    """Tell a visitor the nodes of `tree` in the order of its NAR."""
    if isinstance(tree, Link):
        visitor.symlink(name, tree.target)
    elif isinstance(tree, bytes | Executable | File):
        contents = tree if isinstance(tree, bytes) else tree.contents
        executable = isinstance(tree, Executable) or (isinstance(tree, File) and bool(tree.mode & 0o100))
        if len(contents) > 1 << 20:
            pieces = (contents[start : start + 70_001] for start in range(0, len(contents), 70_001))
            visitor.large_file(name, executable, len(contents), pieces)
        else:
            visitor.file(name, executable, contents)
    else:
        visitor.enter_directory(name)
        for child_name in sorted(tree):
            visit_tree(tree[child_name], visitor, child_name)
        visitor.leave_directory()


def count_nodes(tree: Tree) -> int:
    """How many files, directories and symlinks there are, the root included."""
    return 1 + sum(map(count_nodes, tree.values())) if isinstance(tree, Mapping) else 1


def _nested(depth: int, innermost: Tree) -> Tree:
    tree = innermost
    for level in range(depth):
        tree = {b"level %d" % (depth - level): tree}
    return tree


def _named(*names: bytes) -> Tree:
    """Files with these names, each holding its name, with an empty file and a directory between."""
    return {name: (name, b"", {b"in": name})[index % 3] for index, name in enumerate(names)}


def _pattern(size: int) -> bytes:
    """Bytes that repeat at no power of two, so that chunks of them differ."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


_UNSORTED = (b"m", b"z", b"a", b"B", b"b", b"_", b"0", b"a.b", b"a-b", b"a/".rstrip(b"/") + b"0", b"~")
_NOT_UTF8 = (b"\xff\xfe", b"caf\xe9", b"\x80", b"\xc3\x28", b"\xed\xa0\x80", b"\xf5\x80\x80\x80")

ODD_TREES: dict[str, Callable[[], Tree]] = {
    "empty directory": dict,
    "empty file": lambda: b"",
    "executable empty file": lambda: Executable(b""),
    "file of one byte": lambda: b"x",
    "file of seven bytes": lambda: b"seven..",
    "file of eight bytes": lambda: b"eight...",
    "file of nine bytes": lambda: b"nine.....",
    "file that looks like an archive": lambda: b"\x0d\0\0\0\0\0\0\0nix-archive-1\0\0\0\x01\0\0\0\0\0\0\0(\0\0\0\0\0\0\0",
    "executable file as root": lambda: Executable(b"#!/bin/sh\necho hi\n"),
    "dangling symlink as root": lambda: Link(b"nowhere/at/all"),
    "absolute symlink as root": lambda: Link(b"/nix/store/somewhereelse"),
    "symlink to itself": lambda: {b"loop": Link(b"loop")},
    "symlinks to directories": lambda: {b"d": {b"f": b"in d"}, b"to-d": Link(b"d"), b"to-root": Link(b"."), b"up": Link(b"../..")},
    "longest target": lambda: {b"link": Link(b"t" * 4095)},
    "targets of all paddings": lambda: {b"%d" % size: Link(b"t" * size) for size in range(1, 18)},
    "target not UTF-8": lambda: {b"link": Link(b"\xff\xfe/\n\t \x01")},
    "target with spaces and slashes": lambda: {b"link": Link(b"//a b///./../c/"), b"dot": Link(b"."), b"root": Link(b"/")},
    "longest name": lambda: _named(b"n" * 255),
    "longest names, nearly the same": lambda: _named(b"n" * 254 + b"b", b"n" * 254 + b"a", b"n" * 254),
    "names of all paddings": lambda: _named(*(b"n" * size for size in range(1, 18))),
    "names not UTF-8": lambda: _named(*_NOT_UTF8),
    "names with every byte": lambda: _named(*(bytes([byte]) for byte in range(255, 0, -1) if byte not in b"/.")),
    "names of newlines and blanks": lambda: _named(b"\n", b"a\nb", b" ", b" lead", b"trail ", b"\t", b"\r\n", b"\x7f", b"\x1b[31m"),
    "names of dots": lambda: _named(b"...", b"..a", b".hidden", b"a.", b"a..", b". ", b".\n"),
    "names like grammar": lambda: _named(b"entry", b"node", b"name", b"(", b")", b"type", b"nix-archive-1"),
    "names like options": lambda: _named(b"-rf", b"--help", b"-", b"--", b"$HOME", b"`id`", b"*", b"?", b"[a]", b"\\", b'"', b"'"),
    "names in other scripts": lambda: _named(*(text.encode() for text in ("é", "e\u0301", "漢字", "🦀", "\u202e", "Ω", "ﬀ"))),
    "names that differ in case": lambda: _named(b"Readme", b"README", b"readme", b"rEADME"),
    "names with case hack": lambda: _named(b"a~nix~case~hack~1", b"A~nix~case~hack~2", b"a"),
    "prefixes of each other": lambda: _named(b"a", b"ab", b"abc", b"a\x01", b"a ", b"a\xff", b"a-", b"a.", b"a0"),
    "made unsorted": lambda: _named(*_UNSORTED),
    "directory and file sort together": lambda: {b"foo": {b"x": b"1"}, b"foo.txt": b"2", b"foo-bar": {}, b"foo0": Link(b"foo")},
    "all kinds": lambda: {b"bin": {b"hello": Executable(b"#!/bin/sh\necho hi\n")}, b"link": Link(b"bin/hello"), b"readme": b"text"},
    "modes": lambda: {
        b"%o" % mode: File(b"mode", mode) for mode in (0o755, 0o744, 0o700, 0o500, 0o644, 0o611, 0o655, 0o4755, 0o444)
    },
    "empty directories": lambda: {b"a": {}, b"b": {b"c": {}, b"d": {b"e": {}}}},
    "keep": lambda: {b"keep": {b".keep": b""}, b".keep": b"", b"aa": Link(b"/nix/store/somewhereelse")},
    "nested to the limit": lambda: _nested(64, b"bottom"),
    "nested to the limit, empty": lambda: _nested(64, {}),
    "nested, with neighbours": lambda: {b"a": _nested(30, Executable(b"x")), b"b": _nested(30, Link(b"x")), b"c": b"x"},
    "a thousand empty files": lambda: {b"%d" % number: b"" for number in range(1000)},
    "a thousand directories": lambda: {b"%d" % number: {b"f": b"%d" % number} for number in range(1000)},
    "the same contents many times": lambda: {b"%d" % number: b"same" * 100 for number in range(100)},
    "the same directory many times": lambda: {b"%d" % number: {b"a": b"1", b"b": {b"c": b"2"}} for number in range(50)},
    "files of all paddings": lambda: {b"%02d" % size: b"x" * size for size in range(18)},
    "files around a page": lambda: {b"%d" % size: _pattern(size) for size in (4095, 4096, 4097, 8191, 8192, 65535, 65536, 65537)},
    "files around a window": lambda: {b"%d" % size: _pattern(size) for size in (262_080, 262_144, 262_145, 524_288)},
    "files around a piece": lambda: {b"%d" % ((1 << 20) + more): _pattern((1 << 20) + more) for more in (-9, -1, 0, 1, 7)},
    "big file": lambda: {b"before": b"1", b"big": _pattern(5_000_003), b"later": b"2"},
    "big executable as root": lambda: Executable(_pattern(3_000_001)),
    "big zeros": lambda: {b"zeros": bytes(4_194_304), b"one": bytes(4_194_303) + b"\x01"},
    "binary contents": lambda: {b"all": bytes(range(256)) * 3, b"nul": b"\0", b"crlf": b"a\r\nb\r", b"no newline": b"\xff"},
}
"""Fifty trees and one, by a name that says what is odd: `make_tree(path, ODD_TREES[name]())`."""
