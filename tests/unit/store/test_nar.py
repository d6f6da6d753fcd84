"""NARs rendered from castore: the bytes, the bounds, and what happens to trees that lie or lack something."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from hashlib import sha256

import pytest

from tvix.castore.blobs.contents import WrongBlobSize
from tvix.castore.blobs.interface import Buffer
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name, Node, SymlinkNode
from tvix.nix_compat.nar.tokens import string
from tvix.store import nar
from tvix.store.completeness import IncompleteRoot, check_complete
from tvix.store.nar import nar_summary, render_nar


class CountingBlobs(MemoryBlobService):
    """Counts calls, and how much one call was asked for."""

    calls = 0
    most = 0

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        digests = list(digests)
        self.calls += 1
        self.most = max(self.most, len(digests))
        return super().read_many(digests)


class CountingDirectories(MemoryDirectoryService):
    """Counts calls."""

    calls = 0

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        self.calls += 1
        return super().get_many(digests)


class Castore:
    """Somewhere to put trees made of dicts (directories), bytes (files) and str (symlinks)."""

    def __init__(self) -> None:
        self.blobs = CountingBlobs()
        self.directories = CountingDirectories()

    def put(self, tree: object) -> Node:
        if isinstance(tree, dict):
            directory = Directory.of((Name(name), self.put(below)) for name, below in tree.items())
            self.directories.put([directory])
            return directory.node
        if isinstance(tree, str):
            return SymlinkNode(tree.encode())
        assert isinstance(tree, bytes)
        return FileNode(self.blobs.put(tree), len(tree), False)

    def render(self, node: Node) -> bytes:
        return b"".join(render_nar(node, self.blobs, self.directories))


@pytest.fixture
def castore() -> Castore:
    return Castore()


def expected(tree: object) -> bytes:
    """The NAR, the slow and obvious way."""

    def strings(*texts: bytes) -> bytes:
        return b"".join(string(text) for text in texts)

    def node(tree: object) -> bytes:
        if isinstance(tree, bytes):
            return strings(b"(", b"type", b"regular", b"contents", tree, b")")
        if isinstance(tree, str):
            return strings(b"(", b"type", b"symlink", b"target", tree.encode(), b")")
        assert isinstance(tree, dict)
        entries = (strings(b"entry", b"(", b"name", name, b"node") + node(tree[name]) + strings(b")") for name in sorted(tree))
        return strings(b"(", b"type", b"directory") + b"".join(entries) + strings(b")")

    return string(b"nix-archive-1") + node(tree)


TREES = {
    "an empty file": b"",
    "a file": b"Hello World!",
    "a large file": bytes(range(251)) * 20_000,
    "a symlink": "/nix/store/somewhereelse",
    "an empty directory": {},
    "a directory": {b"a": b"1", b"b": b"", b"link": "a", b"sub": {b"x": b"y" * 9}},
    "names of every length": {b"n" * size: b"c" * size for size in range(1, 256)},
    "large among small": {b"%03d" % n: b"x" * (300_000 if n % 7 == 0 else n) for n in range(40)},
    "deep": {b"1": {b"2": {b"3": {b"4": {b"5": {b"end": b"here"}}}}}, b"6": {b"7": {}}},
    "the same directory twice": {b"a": {b"z": b"1"}, b"b": {b"y": {b"z": b"1"}}, b"c": {b"z": b"1"}},
    "names that aren't text": {b"\xff\xfe": b"1", b"\xc3\xa9": b"2", b"a b\n": b"3"},
    "more directories than are fetched at once": {b"%04d" % n: {b"f": b"%d" % n} for n in range(1100)},
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_the_bytes(castore: Castore, tree: object) -> None:
    node = castore.put(tree)
    contents = expected(tree)
    assert castore.render(node) == contents
    assert nar_summary(node, castore.blobs, castore.directories) == (len(contents), sha256(contents).digest())


def test_an_executable_says_so(castore: Castore) -> None:
    digest = castore.blobs.put(b"#!")
    plain, executable = (castore.render(FileNode(digest, 2, flag)) for flag in (False, True))
    assert executable == plain.replace(string(b"regular"), string(b"regular") + string(b"executable") + string(b""))


def test_small_files_come_in_few_calls(castore: Castore) -> None:
    node = castore.put({b"%05d" % n: b"%d" % n for n in range(5000)})
    castore.render(node)
    assert castore.blobs.calls <= 3
    assert castore.blobs.most <= nar._WINDOW_BYTES // nar._TOKEN_BYTES + 1


def test_sibling_directories_come_in_one_call(castore: Castore) -> None:
    node = castore.put({b"%03d" % n: {b"f": b"%d" % n} for n in range(300)})
    castore.directories.calls = 0
    castore.render(node)
    assert castore.directories.calls == 2


def test_pieces_are_bounded(castore: Castore) -> None:
    node = castore.put({b"big": bytes(9 << 20), **{b"s%03d" % n: bytes(200_000) for n in range(50)}})
    assert max(len(piece) for piece in render_nar(node, castore.blobs, castore.directories)) < 3 << 20


@pytest.mark.parametrize("contents", [b"small", b"x" * 400_000])
def test_a_missing_blob_is_named(castore: Castore, contents: bytes) -> None:
    absent = FileNode(digest_of(contents), len(contents), False)
    directory = Directory.of([(Name(b"f"), absent)])
    castore.directories.put([directory])
    with pytest.raises(IncompleteRoot, match="blob blake3-"):
        castore.render(directory.node)
    with pytest.raises(IncompleteRoot, match="blob blake3-"):
        check_complete(directory.node, castore.blobs, castore.directories)


def test_a_missing_directory_is_named(castore: Castore) -> None:
    nowhere = DirectoryNode(digest_of(b"nowhere"), 4)
    with pytest.raises(IncompleteRoot, match="directory blake3-"):
        castore.render(nowhere)
    with pytest.raises(IncompleteRoot, match="directory blake3-"):
        check_complete(nowhere, castore.blobs, castore.directories)


@pytest.mark.parametrize("contents", [b"small", b"x" * 400_000])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_size_that_lies_is_refused(castore: Castore, contents: bytes, off: int) -> None:
    lie = FileNode(castore.blobs.put(contents), len(contents) + off, False)
    with pytest.raises(WrongBlobSize):
        castore.render(lie)


def test_a_complete_tree_is_complete(castore: Castore) -> None:
    check_complete(castore.put(TREES["deep"]), castore.blobs, castore.directories)
    check_complete(SymlinkNode(b"x"), castore.blobs, castore.directories)
    check_complete(castore.put(b"x"), castore.blobs, castore.directories)
    with pytest.raises(IncompleteRoot):
        check_complete(FileNode(digest_of(b"absent"), 6, False), castore.blobs, castore.directories)
