"""Trees in and out: what is stored, what is refused, what a tree that changes meanwhile can do."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tvix.castore.blobs.contents import BlobNotFound, WrongBlobSize
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.export import DestinationExists, DestinationUnusable, export_tree
from tvix.castore.ingest.errors import ChangedWhileReading, SpecialFile, Unreadable
from tvix.castore.ingest.filesystem import ingest_tree
from tvix.castore.ingest.fingerprint import Fingerprint
from tvix.castore.ingest.nar import ingest_nar
from tvix.castore.nodes import DirectoryNode, FileNode, Node, SymlinkNode, check_name
from tvix.castore.tree import DirectoryNotFound, TreeTooDeep, descend, split_path, walk
from tvix.nix_compat.nar.errors import InvalidNar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.events import Event

MIXED = "f2b05de7bd5f6b1ba0c2fb01cf508004d57c1214d267d01642fb30456e21a9c3"


@pytest.fixture
def blobs() -> MemoryBlobService:
    return MemoryBlobService()


@pytest.fixture
def directories() -> MemoryDirectoryService:
    return MemoryDirectoryService()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    tree = tmp_path / "mixed"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "hello").write_bytes(b"#!/bin/sh\necho hi\n")
    (tree / "bin" / "hello").chmod(0o755)
    (tree / "link").symlink_to("bin/hello")
    (tree / "readme").write_bytes(b"text")
    return tree


def test_a_tree_has_the_digest_that_the_deployed_daemons_give_it(
    mixed: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService
) -> None:
    node = ingest_tree(mixed, blobs, directories)
    assert isinstance(node, DirectoryNode)
    assert (node.digest.hex(), node.size) == (MIXED, 8)
    found = {b"/".join(path): below for path, below in walk(directories, node)}
    assert list(found) == [b"", b"bin", b"bin/hello", b"link", b"readme"]
    assert found[b"readme"] == FileNode(digest_of(b"text"), 4, False)
    assert blobs.missing([digest_of(b"text"), digest_of(b"#!/bin/sh\necho hi\n")]) == set()


def test_the_root_may_be_a_file_or_a_symlink(tmp_path: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService) -> None:
    (tmp_path / "f").write_bytes(b"x" * 300_000)
    (tmp_path / "f").chmod(0o700)
    (tmp_path / "l").symlink_to("/nowhere")
    assert ingest_tree(tmp_path / "f", blobs, directories) == FileNode(digest_of(b"x" * 300_000), 300_000, True)
    assert ingest_tree(tmp_path / "l", blobs, directories) == SymlinkNode(b"/nowhere")


def test_no_symlink_is_followed(tmp_path: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").symlink_to("../secret")
    (tree / "dir").symlink_to("..")
    (tree / "loop").symlink_to("loop")
    node = ingest_tree(tree, blobs, directories)
    assert {type(below) for _path, below in walk(directories, node)} == {DirectoryNode, SymlinkNode}
    assert blobs.missing([digest_of(b"secret")])


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_special_files_are_refused_by_name(
    tmp_path: Path, kind: str, blobs: MemoryBlobService, directories: MemoryDirectoryService
) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    special = tmp_path / "tree" / "sub" / "odd"
    if kind == "fifo":
        os.mkfifo(special)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(special.parent)
            listener.bind("odd")
            os.chdir("/")
    elif os.geteuid() == 0:
        os.mknod(special, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    else:
        pytest.skip("needs root to make a device node")
    with pytest.raises(SpecialFile) as refused:
        ingest_tree(tmp_path / "tree", blobs, directories)
    assert str(special) in str(refused.value)
    with pytest.raises(SpecialFile):
        ingest_tree(special, blobs, directories)


def test_what_can_t_be_read_is_named(tmp_path: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService) -> None:
    with pytest.raises(Unreadable, match=f"{tmp_path}/absent"):
        ingest_tree(tmp_path / "absent", blobs, directories)


@pytest.mark.root
@pytest.mark.parametrize("closed", ["sub", "sub/file"])
def test_what_may_not_be_read_is_named(tmp_path: Path, closed: str) -> None:
    """As another user, since root may read everything."""
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_bytes(b"x")
    (tmp_path / "tree" / closed).chmod(0)
    tmp_path.chmod(0o755)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.setresuid(65534, 65534, 65534)
        try:
            ingest_tree("tree", MemoryBlobService(), MemoryDirectoryService())
        except Unreadable as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1000) == f"tree/{closed} can't be read: Permission denied".encode()
    os.close(reading)
    os.close(writing)


def test_odd_names_and_targets_survive(tmp_path: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService) -> None:
    tree = os.fsencode(tmp_path / "tree")
    os.mkdir(tree)
    for name in (b"\xff\xfe", b"a b\n", b"-", b"...", b"n" * 255):
        os.symlink(b"\xff" * 100, os.path.join(tree, name))
    node = ingest_tree(tree, blobs, directories)
    assert isinstance(node, DirectoryNode)
    entries = directories.get_many([node.digest])[node.digest].entries
    assert list(entries) == sorted((b"\xff\xfe", b"a b\n", b"-", b"...", b"n" * 255))
    assert set(entries.values()) == {SymlinkNode(b"\xff" * 100)}


def test_too_deep_a_tree_is_refused_by_name(tmp_path: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService) -> None:
    path = tmp_path / "t"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises(TreeTooDeep, match="256"):
        ingest_tree(path, blobs, directories)


class Meddling(MemoryBlobService):
    """Changes the tree as soon as a large file is stored."""

    def __init__(self, meddle: object) -> None:
        super().__init__()
        self.meddle = meddle

    def writer(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
        self.meddle()  # type: ignore[operator]
        return super().writer()


LARGE = bytes(200_000)


def change_size(tree: Path) -> None:
    with open(tree / "a" / "large", "ab") as file:
        file.write(b"more")


def change_contents(tree: Path) -> None:
    before = (tree / "a" / "large").stat()
    with open(tree / "a" / "large", "r+b") as file:
        file.write(b"x")
    os.utime(tree / "a" / "large", ns=(before.st_atime_ns, before.st_mtime_ns))


def add(tree: Path) -> None:
    (tree / "a" / "new").touch()


def remove(tree: Path) -> None:
    (tree / "a" / "z").unlink()


def file_to_symlink(tree: Path) -> None:
    (tree / "a" / "z").unlink()
    (tree / "a" / "z").symlink_to("/etc/passwd")


def file_to_fifo(tree: Path) -> None:
    (tree / "a" / "z").unlink()
    os.mkfifo(tree / "a" / "z")


def directory_to_symlink(tree: Path) -> None:
    (tree / "b").rmdir()
    (tree / "b").symlink_to("/etc")


CHANGES = [change_size, change_contents, add, remove, file_to_symlink, file_to_fifo, directory_to_symlink]


@pytest.mark.parametrize("change", CHANGES)
def test_a_tree_that_changes_meanwhile_is_an_error(tmp_path: Path, change: object) -> None:
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "b").mkdir()
    (tree / "a" / "large").write_bytes(LARGE)
    (tree / "a" / "z").write_bytes(b"z")
    service = Meddling(lambda: change(tree))  # type: ignore[operator]
    with pytest.raises(ChangedWhileReading) as refused:
        ingest_tree(tree, service, MemoryDirectoryService())
    assert str(tree) in str(refused.value)
    assert service.missing([digest_of(Path("/etc/passwd").read_bytes())])


def test_no_descriptor_is_left_open(mixed: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService) -> None:
    os.mkfifo(mixed / "bin" / "odd")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(SpecialFile):
        ingest_tree(mixed, blobs, directories)
    assert os.listdir("/proc/self/fd") == before


def test_progress_is_told(mixed: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService) -> None:
    events: list[Event] = []
    ingest_tree(mixed, blobs, directories, events.append)
    assert (events[0]["kind"], events[0]["what"], events[0]["fields"]["path"]) == ("start", "ingest", str(mixed))
    assert (events[-1]["kind"], events[-1]["done"], events[-1]["fields"]["bytes"]) == ("stop", 2, 22)


def test_fingerprints_tell_whether_the_tree_was_the_same(
    mixed: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService
) -> None:
    def seen() -> int:
        fingerprint = Fingerprint()
        ingest_tree(mixed, blobs, directories, fingerprint=fingerprint)
        return fingerprint.value

    first = seen()
    assert seen() == first
    (mixed / "readme").write_bytes(b"TEXT")
    second = seen()
    assert second != first
    (mixed / "bin" / "hello").chmod(0o644)
    assert seen() not in (first, second)


@pytest.mark.nix
def test_nars_and_trees_give_the_same(mixed: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService) -> None:
    (mixed / "large").write_bytes(os.urandom(3_000_000))
    (mixed / "middling").write_bytes(os.urandom(200_000))
    (mixed / "empty").mkdir()
    nar = subprocess.run(["nix-store", "--dump", mixed], capture_output=True, check=True).stdout
    from_nar = ingest_nar(io.BytesIO(nar).read, blobs, directories)
    assert from_nar == ingest_tree(mixed, MemoryBlobService(), MemoryDirectoryService())
    assert not blobs.missing([below.digest for _path, below in walk(directories, from_nar) if isinstance(below, FileNode)])


def test_of_a_broken_nar_no_directory_is_stored(blobs: MemoryBlobService) -> None:
    def word(text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + bytes(-len(text) % 8)

    words = b"nix-archive-1 ( type directory entry ( name a node ( type regular contents hello ) )".split()
    with pytest.raises(InvalidNar):
        ingest_nar(io.BytesIO(b"".join(map(word, words))).read, blobs, Refusing())


class Refusing(MemoryDirectoryService):
    def put(self, directories: object) -> Digest:  # noqa: ARG002
        raise AssertionError("a directory of a broken NAR was stored")


def stored(blobs: MemoryBlobService, directories: MemoryDirectoryService) -> Node:
    leaf = Directory.of(
        [
            (check_name(b"exe"), FileNode(blobs.put(b"run"), 3, True)),
            (check_name(b"large"), FileNode(blobs.put(LARGE), len(LARGE), False)),
            (check_name(b"link"), SymlinkNode(b"/etc")),
        ]
    )
    root = Directory.of([(check_name(b"below"), leaf.node), (check_name(b"empty"), Directory.of([]).node)])
    directories.put([Directory.of([]), leaf, root])
    return root.node


def test_an_exported_tree_is_as_in_a_nix_store(
    tmp_path: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService
) -> None:
    node = stored(blobs, directories)
    mask = os.umask(0o077)
    try:
        export_tree(blobs, directories, node, tmp_path / "out")
    finally:
        os.umask(mask)
    found = {}
    for folder, folders, files in os.walk(tmp_path / "out"):
        for name in (".", *folders, *files):
            status = os.lstat(os.path.join(folder, name))
            found[os.path.relpath(os.path.join(folder, name), tmp_path / "out")] = oct(status.st_mode)
            assert status.st_mtime_ns == 1_000_000_000
    modes = {".": "0o40555", "below": "0o40555", "below/exe": "0o100555", "below/large": "0o100444", "empty": "0o40555"}
    assert found == {**modes, "below/link": "0o120777"}
    assert ingest_tree(tmp_path / "out", MemoryBlobService(), MemoryDirectoryService()) == node
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("node", [SymlinkNode(b"/x"), FileNode(digest_of(b"f"), 1, True)])
def test_a_leaf_can_be_exported(tmp_path: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService, node: Node) -> None:
    blobs.put(b"f")
    export_tree(blobs, directories, node, tmp_path / "out")
    assert ingest_tree(tmp_path / "out", blobs, directories) == node
    assert os.listdir(tmp_path) == ["out"]


@pytest.fixture
def occupied(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    yield tmp_path
    assert sorted(os.listdir(tmp_path)) == ["dangling", "there"]
    assert (tmp_path / "there" / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["there", "there/mine", "dangling"])
def test_nothing_is_overwritten(occupied: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService, name: str) -> None:
    for node in (stored(blobs, directories), SymlinkNode(b"x")):
        with pytest.raises(DestinationExists):
            export_tree(blobs, directories, node, occupied / name)


def test_an_export_wants_a_place(tmp_path: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService) -> None:
    with pytest.raises(DestinationUnusable):
        export_tree(blobs, directories, SymlinkNode(b"x"), tmp_path / "absent" / "out")


def test_what_can_t_be_exported_whole_isn_t_there(
    tmp_path: Path, blobs: MemoryBlobService, directories: MemoryDirectoryService
) -> None:
    good = Directory.of([(check_name(b"f"), FileNode(blobs.put(b"fine"), 4, False))])
    lies: dict[type[Exception], FileNode] = {
        BlobNotFound: FileNode(digest_of(b"absent"), 6, False),
        WrongBlobSize: FileNode(blobs.put(b"size"), 5, False),
    }
    for error, lie in lies.items():
        for size in (lie.size, 10_000_000):
            root = Directory.of([(check_name(b"a"), good.node), (check_name(b"b"), lie._replace(size=size))])
            directories.put([good, root])
            with pytest.raises(error):
                export_tree(blobs, directories, root.node, tmp_path / "out")
            assert os.listdir(tmp_path) == []
    with pytest.raises(DirectoryNotFound):
        export_tree(blobs, directories, DirectoryNode(digest_of(b"absent"), 0), tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_descending(blobs: MemoryBlobService, directories: MemoryDirectoryService) -> None:
    node = stored(blobs, directories)
    assert descend(directories, node, split_path(b"below/exe")) == FileNode(digest_of(b"run"), 3, True)
    assert descend(directories, node, split_path(b"")) == node
    assert descend(directories, node, split_path(b"below/absent")) is None
    assert descend(directories, node, split_path(b"below/link/passwd")) is None
    assert descend(directories, node, split_path(b"below/exe/x")) is None
