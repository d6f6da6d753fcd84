"""What comes into a store, and what is refused: nothing is ever half registered."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tvix.castore.ingest.errors import ChangedWhileReading, SpecialFile, Unreadable
from tvix.castore.tree import TreeTooDeep
from tvix.errors import TvixError
from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.nar.errors import InvalidNar, TrailingData, TruncatedNar
from tvix.nix_compat.store_path import InvalidStorePathName, StorePath, StorePathDigest, source_path
from tvix.store import importing, nar_hash_process
from tvix.store.addresses import open_store
from tvix.store.closure import MissingReference, PathNotFound
from tvix.store.content_addressing import WrongStorePath
from tvix.store.exporting import export_nar, export_path
from tvix.store.importing import NoName, import_closure, import_nar, import_path
from tvix.store.nar_hash import hash_path, write_nar
from tvix.store.nar_hash_process import HashingFailed, NarHashProcess
from tvix.store.path_info_json import InvalidPathInfoJson
from tvix.store.path_infos.checking import WrongNarHash, WrongNarSize
from tvix.store.path_infos.merge import ConflictingPathInfo
from tvix.store.store import Store
from tvix.testing.trees import ODD_TREES, Tree, make_tree

if TYPE_CHECKING:
    from tvix.events import Event

SMALL: Tree = {b"bin": {b"tool": b"#!"}, b"readme": b"text"}


@pytest.fixture
def store() -> Store:
    return open_store("memory:")


@pytest.fixture
def hasher() -> Iterator[NarHashProcess]:
    with NarHashProcess() as process:
        yield process


def nothing_registered(store: Store) -> bool:
    return list(store.path_infos.list()) == []


def nar_of(path: Path) -> bytes:
    out = io.BytesIO()
    write_nar(path, out.write)
    return out.getvalue()


def test_a_tree_is_named_after_its_last_component(store: Store, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "thing-1.0", SMALL)
    info = import_path(store, tree)
    assert info.path == source_path("thing-1.0", hash_path(tree).sha256)
    assert store.path_infos.get_many([info.path.digest]) == {info.path.digest: info}
    assert import_path(store, f"{tree}/./").path == info.path
    assert import_path(store, tree, "other").path.name == "other"


def test_names_that_can_not_be(store: Store, tmp_path: Path) -> None:
    make_tree(tmp_path / "a b", SMALL)
    with pytest.raises(InvalidStorePathName):
        import_path(store, tmp_path / "a b")
    with pytest.raises(NoName):
        import_path(store, "/")
    with pytest.raises(InvalidStorePathName):
        import_path(store, tmp_path / "a b", "")
    with pytest.raises(InvalidStorePathName):
        import_nar(store, io.BytesIO(nar_of(tmp_path / "a b")).read, "a/b")
    assert nothing_registered(store)


def test_a_process_beside_comes_to_the_same(store: Store, hasher: NarHashProcess, tmp_path: Path) -> None:
    for name in ("all kinds", "names not UTF-8", "empty file", "dangling symlink as root", "big file", "nested to the limit"):
        tree = make_tree(tmp_path / f"tree-{len(name)}", ODD_TREES[name]())
        assert import_path(store, tree, "t", hasher=hasher) == import_path(store, tree, "t")


def special(kind: str, path: Path) -> None:
    if kind == "named pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            here = os.open(path.parent, os.O_RDONLY)
            try:
                listening.bind(f"/proc/self/fd/{here}/{path.name}")
            finally:
                os.close(here)


@pytest.mark.parametrize("kind", ["named pipe", "socket"])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("as_root", [False, True])
def test_special_files_are_named(store: Store, tmp_path: Path, kind: str, beside: bool, as_root: bool) -> None:
    root = tmp_path / "tree"
    if not as_root:
        make_tree(root, SMALL)
    odd = root if as_root else root / "bin" / "odd"
    special(kind, odd)
    with NarHashProcess() as hasher, pytest.raises(SpecialFile, match=f"{odd} is a {kind}"):
        import_path(store, root, hasher=hasher if beside else None)
    with pytest.raises(SpecialFile, match=f"{odd} is a {kind}"):
        hash_path(root)
    assert nothing_registered(store)


def test_a_failed_import_leaves_the_process_usable(store: Store, hasher: NarHashProcess, tmp_path: Path) -> None:
    good, bad = make_tree(tmp_path / "good", SMALL), make_tree(tmp_path / "bad", SMALL)
    os.mkfifo(bad / "pipe")
    for _ in range(3):
        with pytest.raises(SpecialFile):
            import_path(store, bad, hasher=hasher)
    assert import_path(store, good, hasher=hasher).nar_sha256 == hash_path(good).sha256


def test_a_process_that_is_gone_is_an_error(store: Store, tmp_path: Path) -> None:
    with NarHashProcess() as hasher:
        os.kill(hasher._pid, 9)
        with pytest.raises(HashingFailed):
            import_path(store, make_tree(tmp_path / "tree", SMALL), hasher=hasher)
    assert nothing_registered(store)


@pytest.mark.parametrize("walk", [hash_path, lambda path: import_path(open_store("memory:"), path)], ids=["hash", "import"])
def test_what_is_not_there_or_too_deep(walk: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Unreadable, match="No such file"):
        walk(tmp_path / "absent")
    here = tmp_path / "deep"
    for _ in range(257):
        here.mkdir()
        os.chdir(here)
        here = Path("d")
    os.chdir(tmp_path)
    with pytest.raises(TreeTooDeep):
        walk(tmp_path / "deep")


UNREADABLE = """
import sys
from tvix.errors import TvixError
from tvix.store.addresses import open_store
from tvix.store.importing import import_path
from tvix.store.nar_hash import hash_path
for walk in (hash_path, lambda path: import_path(open_store("memory:"), path)):
    try:
        walk(sys.argv[1])
    except TvixError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.root
@pytest.mark.parametrize("where", ["readme", "bin", ""])
def test_unreadable_files_are_named(where: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", SMALL)
    (tree / where).chmod(0)
    # Root may read everything; without that capability it is as any owner of files that nobody may read.
    command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    command += [sys.executable, "-c", UNREADABLE, str(tree)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = f"Unreadable {(tree / where) if where else tree} can't be read: Permission denied"
    assert (done.stdout.splitlines(), done.stderr) == ([said, said], "")


def test_a_tree_that_changes_between_the_walks(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree(tmp_path / "tree", SMALL)
    plain = nar_hash_process.hash_tree

    def later(path: str) -> object:
        (tree / "readme").write_bytes(b"TEXT")
        return plain(path)

    monkeypatch.setattr(importing, "hash_tree", later)
    with pytest.raises(ChangedWhileReading, match=f"{tree} changed while it was read"):
        import_path(store, tree)
    assert nothing_registered(store)


def test_a_file_that_grows_while_it_is_hashed(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {b"a": bytes(3 << 20), b"b": b"x"})

    def sink(_piece: bytes) -> None:
        with (tree / "a").open("ab") as file:
            file.write(b"more")

    with pytest.raises(ChangedWhileReading, match=f"{tree}/a changed"):
        write_nar(tree, sink)


@pytest.mark.parametrize("cut", [1, 8, 100, 400])
def test_a_truncated_nar(store: Store, tmp_path: Path, cut: int) -> None:
    nar = nar_of(make_tree(tmp_path / "tree", SMALL))
    with pytest.raises(TruncatedNar):
        import_nar(store, io.BytesIO(nar[:-cut]).read, "tree")
    with pytest.raises(TrailingData):
        import_nar(store, io.BytesIO(nar + b"x").read, "tree")
    with pytest.raises(InvalidNar):
        import_nar(store, io.BytesIO(b"not a NAR").read, "tree")
    assert nothing_registered(store)


def test_a_nar_is_its_tree(store: Store, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", ODD_TREES["all kinds"]())
    nar = nar_of(tree)
    info = import_nar(store, io.BytesIO(nar).read, "tree")
    assert info == import_path(store, tree)
    out = io.BytesIO()
    export_nar(store, info.path, out.write)
    assert out.getvalue() == nar
    export_path(store, info.path, tmp_path / "out")
    assert nar_of(tmp_path / "out") == nar


def test_what_is_not_in_the_store_is_not_exported(store: Store, tmp_path: Path) -> None:
    absent = StorePath(StorePathDigest(b"a" * 20), "absent")
    with pytest.raises(PathNotFound, match=str(absent)):
        export_path(store, absent, tmp_path / "out")
    with pytest.raises(PathNotFound):
        export_nar(store, absent, io.BytesIO().write)
    assert not (tmp_path / "out").exists()


class NixStore:
    """A directory of store paths and what `nix path-info` would print of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "store"
        self.info = folder / "INFO.json"
        self.folder.mkdir()
        self.told: dict[str, dict[str, object]] = {}

    def add(self, name: str, tree: Tree, *references: StorePath) -> StorePath:
        path = StorePath(StorePathDigest(name.encode() * 20), name)
        size, digest = hash_path(make_tree(self.folder / path.basename, tree))
        self.told[str(path)] = {
            "narHash": Hash("sha256", digest).print("sri"),
            "narSize": size,
            "references": [str(reference) for reference in references],
            "signatures": [],
            "deriver": None,
            "ca": None,
        }
        return path

    def import_into(self, store: Store) -> list[StorePath]:
        self.info.write_text(json.dumps(self.told))
        return [info.path for info in import_closure(store, self.folder, self.info)]

    def refused(self, store: Store, error: type[TvixError], match: str) -> None:
        with pytest.raises(error, match=match):
            self.import_into(store)
        assert nothing_registered(store)


@pytest.fixture
def nix_store(tmp_path: Path) -> NixStore:
    return NixStore(tmp_path)


def test_what_is_referred_to_comes_first(store: Store, nix_store: NixStore) -> None:
    c = nix_store.add("c", SMALL)
    b = nix_store.add("b", b"file", c)
    a = nix_store.add("a", SMALL, b, c, StorePath(StorePathDigest(b"a" * 20), "a"))
    assert nix_store.import_into(store) == [c, b, a]


def test_a_lie_about_one_path_registers_none(store: Store, nix_store: NixStore) -> None:
    leaf = nix_store.add("c", SMALL)
    path = nix_store.add("b", {b"x": b"y"}, leaf)
    (nix_store.folder / path.basename / "x").write_bytes(b"z")
    nix_store.refused(store, WrongNarHash, f"{path} is said to have the NAR hash sha256-")


def test_a_lie_about_a_size(store: Store, nix_store: NixStore) -> None:
    path = nix_store.add("b", {b"x": b"y"})
    nix_store.told[str(path)]["narSize"] = 8
    nix_store.refused(store, WrongNarSize, f"{path} is said to have a NAR of 8 bytes")


def test_a_reference_that_is_nowhere(store: Store, nix_store: NixStore) -> None:
    absent = StorePath(StorePathDigest(b"a" * 20), "absent")
    path = nix_store.add("b", SMALL, absent)
    nix_store.refused(store, MissingReference, f"{path} refers to {absent}")


def test_a_reference_may_be_in_the_store_already(store: Store, nix_store: NixStore, tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    leaf = nix_store.add("c", SMALL)
    nix_store.import_into(store)
    later = NixStore(tmp_path / "later")
    path = later.add("b", SMALL, leaf)
    assert later.import_into(store) == [path]


def test_an_entry_that_is_not_there(store: Store, nix_store: NixStore) -> None:
    path = nix_store.add("b", b"file")
    (nix_store.folder / path.basename).unlink()
    nix_store.refused(store, Unreadable, f"{path.basename} can't be read: No such file")


def test_paths_that_refer_to_each_other(store: Store, nix_store: NixStore) -> None:
    a = nix_store.add("a", SMALL)
    b = nix_store.add("b", SMALL, a)
    nix_store.told[str(a)]["references"] = [str(b)]
    nix_store.refused(store, InvalidPathInfoJson, "circle")


def test_other_contents_under_a_path_that_is_there(store: Store, nix_store: NixStore, tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    path = nix_store.add("b", SMALL)
    nix_store.import_into(store)
    later = NixStore(tmp_path / "later")
    later.add("b", {b"other": b"x"})
    with pytest.raises(WrongNarHash, match=str(path)):
        later.import_into(store)
    other_references = nix_store.add("c", SMALL)
    nix_store.told[str(path)]["references"] = [str(other_references)]
    with pytest.raises(ConflictingPathInfo, match="other references"):
        nix_store.import_into(store)
    assert [info.path for info in store.path_infos.list()] == [path]


def test_a_content_address_that_is_told_later_is_checked(store: Store, nix_store: NixStore) -> None:
    path = nix_store.add("b", SMALL)
    nix_store.import_into(store)
    nix_store.told[str(path)]["ca"] = f"fixed:r:{Hash('sha256', bytes(32))}"
    with pytest.raises(WrongStorePath):
        nix_store.import_into(store)


def test_an_info_file_that_is_not_there(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="INFO"):
        import_closure(store, tmp_path, tmp_path / "INFO.json")


def test_events_tell_of_every_path(store: Store, nix_store: NixStore) -> None:
    leaf = nix_store.add("c", SMALL)
    nix_store.add("b", SMALL, leaf)
    nix_store.import_into(open_store("memory:"))
    events: list[Event] = []
    import_closure(store, nix_store.folder, nix_store.info, emit=events.append)
    (stop,) = [event for event in events if event["what"] == "import closure" and event["kind"] == "stop"]
    assert (stop["done"], stop["total"], stop["unit"]) == (2, 2, "paths")
