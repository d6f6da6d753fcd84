"""The NAR reader and writer: known archives, both ways, and what the writer won't write."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest

from tvix.nix_compat.nar import errors, tokens
from tvix.nix_compat.nar.reader import PIECE_BYTES, read_nar
from tvix.nix_compat.nar.writer import NarWriter
from tvix.testing.trees import ODD_TREES, Executable, Link, Tree, count_nodes, visit_tree


def nar_of(tree: Tree) -> bytes:
    output = io.BytesIO()
    writer = NarWriter(output.write)
    visit_tree(tree, writer)
    assert writer.close() == len(output.getvalue())
    return output.getvalue()


class Recorder:
    """Notes what it is told; of a large file, only as many pieces as `pieces_wanted`."""

    def __init__(self, pieces_wanted: int = 1 << 30) -> None:
        self.told: list[tuple[object, ...]] = []
        self.contents: list[bytes] = []
        self._pieces_wanted = pieces_wanted

    def enter_directory(self, name: bytes) -> None:
        self.told.append(("enter", name))

    def leave_directory(self) -> None:
        self.told.append(("leave",))

    def file(self, name: bytes, executable: bool, contents: bytes) -> None:
        assert len(contents) <= PIECE_BYTES
        self.told.append(("file", name, executable, len(contents)))
        self.contents.append(contents)

    def large_file(self, name: bytes, executable: bool, size: int, pieces: Iterator[bytes]) -> None:
        self.told.append(("large", name, executable, size))
        taken = []
        for piece, _ in zip(pieces, range(self._pieces_wanted), strict=False):
            assert 0 < len(piece) <= PIECE_BYTES
            taken.append(piece)
        self.contents.append(b"".join(taken))

    def symlink(self, name: bytes, target: bytes) -> None:
        self.told.append(("symlink", name, target))


def dribble(data: bytes, sizes: tuple[int, ...]) -> Callable[[int], bytes]:
    """A `read` that gives so many bytes at a time, over and over."""
    source = io.BytesIO(data)
    counter = iter(range(1 << 62))
    return lambda wanted: source.read(min(wanted, sizes[next(counter) % len(sizes)]))


# Sizes as the field's implementations have them, and a digest that a running daemon gave.
@pytest.mark.parametrize(
    ("tree", "size"),
    [
        (Link(b"/nix/store/somewhereelse"), 136),
        (b"Hello World!", 128),
        ({b"keep": {b".keep": b""}, b".keep": b"", b"aa": Link(b"/nix/store/somewhereelse")}, 840),
        ({b"d": {b"a": {}, b"b": {b"a": {}}}}, 768),
        ({b"bin": {b"hello": Executable(b"#!/bin/sh\necho hi\n")}, b"link": Link(b"bin/hello"), b"readme": b"text"}, 896),
    ],
)
def test_sizes_of_known_trees(tree: Tree, size: int) -> None:
    assert len(nar_of(tree)) == size


def test_the_digest_of_a_known_tree() -> None:
    digest = sha256(nar_of(ODD_TREES["all kinds"]())).hexdigest()
    assert digest == "778632e64beea15fbfeb350234667bbb7aca8f7f4b0b589419a5846d34b6cd6a"


def test_what_a_visitor_is_told() -> None:
    nar = nar_of({b"z": b"", b"bin": {b"sh": Executable(b"#!")}, b"link": Link(b"bin"), b"none": {}})
    visitor = Recorder()
    assert read_nar(io.BytesIO(nar).read, visitor) == len(nar)
    assert visitor.told == [
        ("enter", b""),
        ("enter", b"bin"),
        ("file", b"sh", True, 2),
        ("leave",),
        ("symlink", b"link", b"bin"),
        ("enter", b"none"),
        ("leave",),
        ("file", b"z", False, 0),
        ("leave",),
    ]


@pytest.mark.parametrize("name", ODD_TREES)
def test_an_odd_tree_is_read_as_it_was_written(name: str) -> None:
    tree = ODD_TREES[name]()
    nar = nar_of(tree)
    direct, read = Recorder(), Recorder()
    visit_tree(tree, direct)
    read_nar(io.BytesIO(nar).read, read)
    assert (read.told, read.contents) == (direct.told, direct.contents)
    assert sum(told != ("leave",) for told in read.told) == count_nodes(tree)


@pytest.mark.parametrize("sizes", [(1, 2, 3), (7, 4096), (65536,), (262_144, 1), (8191,)])
@pytest.mark.parametrize(
    "name", ["all kinds", "names of all paddings", "files around a page", "nested to the limit", "longest target"]
)
def test_how_the_bytes_arrive_makes_no_difference(name: str, sizes: tuple[int, ...]) -> None:
    nar = nar_of(ODD_TREES[name]())
    whole, dribbled = Recorder(), Recorder()
    read_nar(io.BytesIO(nar).read, whole)
    assert read_nar(dribble(nar, sizes), dribbled) == len(nar)
    assert (dribbled.told, dribbled.contents) == (whole.told, whole.contents)


@pytest.mark.parametrize("name", ["files around a window", "files around a piece", "big file", "big executable as root"])
def test_large_files_arrive_whole_however_the_bytes_come(name: str) -> None:
    nar = nar_of(ODD_TREES[name]())
    for sizes in ((65536,), (1 << 20,), (262_144, 1, 99_999)):
        copy = io.BytesIO()
        writer = NarWriter(copy.write)
        assert read_nar(dribble(nar, sizes), writer) == len(nar)
        writer.close()
        assert copy.getvalue() == nar


@pytest.mark.parametrize("size", [300_000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])
@pytest.mark.parametrize("step", [4096, 1 << 20])
def test_a_file_as_root_comes_whole_up_to_the_size_of_a_piece(size: int, step: int) -> None:
    nar = nar_of(Executable(bytes(size)))
    visitor = Recorder()
    assert read_nar(dribble(nar, (step,)), visitor) == len(nar)
    assert visitor.told == [("file" if size <= PIECE_BYTES else "large", b"", True, size)]
    assert visitor.contents == [bytes(size)]


@pytest.mark.parametrize("wanted", [0, 1])
def test_what_a_visitor_leaves_of_a_large_file_is_skipped(wanted: int) -> None:
    nar = nar_of({b"big": bytes(5_000_003), b"z": b"after"})
    visitor = Recorder(pieces_wanted=wanted)
    assert read_nar(io.BytesIO(nar).read, visitor) == len(nar)
    assert visitor.told[-2] == ("file", b"z", False, 5)


def test_an_error_says_where_and_in_which_entry() -> None:
    nar = nar_of({b"a": {b"b": {b"caf\xe9\n": b"x"}}, b"z": b""})
    at = nar.index(tokens.string(b"contents")) + 8
    with pytest.raises(errors.UnexpectedToken) as caught:
        read_nar(io.BytesIO(nar[:at] + b"CONTENTS" + nar[at + 8 :]).read, Recorder())
    assert caught.value.fields["offset"] == at - 8
    assert caught.value.fields["entry"] == r"entry 'a/b/caf\udce9\n'"
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    ("kind", "found", "replacement", "distance"),
    [
        (errors.NonZeroPadding, b"x\0\0\0", b"x\0\0\1", 1),
        (errors.LengthOverflow, b"\1\0\0\0\0\0\0\0x", b"\1\0\0\0\0\0\0\xffx", 0),
        (errors.InvalidEntryName, tokens.string(b"bb"), tokens.string(b"b/"), 0),
        (errors.DuplicateEntry, tokens.string(b"bb"), tokens.string(b"a"), 0),
        (errors.UnsortedEntries, tokens.string(b"bb"), tokens.string(b"A"), 0),
        (errors.InvalidLinkTarget, tokens.string(b"to"), tokens.string(b""), 0),
        (errors.TrailingData, b"the end", b"", 0),
    ],
)
def test_the_offset_of_an_error(kind: type[errors.InvalidNar], found: bytes, replacement: bytes, distance: int) -> None:
    nar = nar_of({b"a": b"x", b"bb": Link(b"to")}) + b"the end"
    at = nar.index(found)
    nar = nar.replace(found, replacement, 1) if replacement else nar
    nar = nar if kind is errors.TrailingData else nar.removesuffix(b"the end")
    with pytest.raises(errors.InvalidNar) as caught:
        read_nar(io.BytesIO(nar).read, Recorder())
    assert type(caught.value) is kind
    assert caught.value.fields["offset"] == at + distance


def test_an_error_of_the_source_passes_through() -> None:
    def read(_wanted: int) -> bytes:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        read_nar(read, Recorder())


ROOT = ("enter_directory", b"")
FILE = ("file", b"b", False, b"")
UP = ("leave_directory",)

WRONG_WRITES: dict[str, tuple[type[errors.InvalidNar], list[tuple[object, ...]]]] = {
    "nothing": (errors.IncompleteTree, [("close",)]),
    "two roots": (errors.IncompleteTree, [("file", b"", False, b""), ("file", b"", False, b"")]),
    "root with a name": (errors.IncompleteTree, [("enter_directory", b"root")]),
    "left open": (errors.IncompleteTree, [ROOT, ("close",)]),
    "left twice": (errors.IncompleteTree, [ROOT, UP, UP]),
    "unsorted": (errors.UnsortedEntries, [ROOT, FILE, ("symlink", b"a", b"x")]),
    "duplicate": (errors.DuplicateEntry, [ROOT, FILE, ("symlink", b"b", b"x")]),
    "unsorted behind a directory": (errors.UnsortedEntries, [ROOT, ("enter_directory", b"c"), FILE, UP, FILE]),
    "empty name": (errors.InvalidEntryName, [ROOT, ("file", b"", False, b"")]),
    "dot": (errors.InvalidEntryName, [ROOT, ("file", b".", False, b"")]),
    "dots": (errors.InvalidEntryName, [ROOT, ("enter_directory", b"..")]),
    "slash": (errors.InvalidEntryName, [ROOT, ("file", b"a/b", False, b"")]),
    "nul": (errors.InvalidEntryName, [ROOT, ("symlink", b"a\0", b"x")]),
    "long name": (errors.InvalidEntryName, [ROOT, ("file", b"n" * 256, False, b"")]),
    "empty target": (errors.InvalidLinkTarget, [("symlink", b"", b"")]),
    "long target": (errors.InvalidLinkTarget, [("symlink", b"", b"t" * 4096)]),
    "nul in target": (errors.InvalidLinkTarget, [("symlink", b"", b"t\0")]),
    "too deep": (errors.TooDeep, [ROOT, *[("enter_directory", b"d")] * 64, FILE]),
    "shorter": (errors.WrongFileSize, [("large_file", b"", False, 10, [b"123", b"456"])]),
    "longer": (errors.WrongFileSize, [("large_file", b"", False, 5, [b"123", b"456"])]),
}


@pytest.mark.parametrize("what", WRONG_WRITES)
def test_the_writer_refuses(what: str) -> None:
    kind, calls = WRONG_WRITES[what]
    writer = NarWriter(lambda _data: None)
    for method, *arguments in calls[:-1]:
        getattr(writer, str(method))(*arguments)
    method, *arguments = calls[-1]
    with pytest.raises(errors.InvalidNar) as caught:
        getattr(writer, str(method))(*arguments)
    assert type(caught.value) is kind


def test_pieces_of_any_size_make_the_same_archive() -> None:
    contents = bytes(range(256)) * 100
    whole, pieces = io.BytesIO(), io.BytesIO()
    for output, cut in ((whole, len(contents)), (pieces, 7)):
        writer = NarWriter(output.write)
        writer.large_file(b"", True, len(contents), [contents[at : at + cut] for at in range(0, len(contents), cut)])
        writer.close()
    assert whole.getvalue() == pieces.getvalue() == nar_of(Executable(contents))


def test_large_pieces_are_passed_on_in_time() -> None:
    sent: list[int] = []
    writer = NarWriter(lambda data: sent.append(len(data)))
    writer.enter_directory(b"")
    for number in range(300):
        writer.file(b"%03d" % number, False, bytes(10_000))
    assert sum(sent) > 2_700_000
    assert max(sent) < 300_000
