"""`tvix store verify`: a sound store is found so, and each kind of damage is found, named, and doesn't hide the next."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name
from tvix.castore.pack.format import BLOB, CHUNK_LIST, DIRECTORY, PATH_INFO
from tvix.castore.pack.store import PackStore
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.addresses import open_store
from tvix.store.importing import import_path
from tvix.store.path_info_codec import encode_path_info
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.store import Store
from tvix.store.verify import verify_store
from tvix.testing.faulty import FaultyBlobService
from tvix.testing.trees import Tree, make_tree

if TYPE_CHECKING:
    from tvix.events import Event

LARGE = random.Random(2).randbytes(500_000)
TREE: Tree = {b"a": b"text " * 1000, b"large": LARGE, b"below": {b"b": b"b", b"c": {b"d": LARGE[:3000]}}}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A sound store with one path."""
    with open_store(f"pack:{tmp_path}/s") as store:
        import_path(store, make_tree(tmp_path / "tree", TREE))
    return tmp_path / "s"


def problems(place: Path, check_contents: bool = False) -> list[tuple[str, str]]:
    """Kind and reason of everything found."""
    with open_store(f"pack:{place}") as store:
        return [(each.kind, each.reason) for each in verify_store(store, check_contents).problems]


def put(place: Path, kind: int, key: bytes, payload: bytes) -> None:
    store = PackStore(place)
    store.put(kind, key, payload)
    store.close()


@pytest.mark.parametrize("check_contents", [False, True])
def test_a_sound_store_is_found_sound(place: Path, check_contents: bool) -> None:
    events: list[Event] = []
    with open_store(f"pack:{place}") as store:
        findings = verify_store(store, check_contents, events.append)
    assert findings.problems == []
    assert findings.incomplete == 0
    assert findings.counts["path info"] == 1
    assert findings.counts["directory"] == 3
    assert findings.counts["chunk list"] == 1
    assert findings.counts["blob"] > 6
    assert (events[0]["what"], events[0]["kind"], events[-1]["kind"]) == ("verify", "start", "stop")
    assert events[-1]["done"] > 400_000


def test_an_empty_store_is_sound(tmp_path: Path) -> None:
    assert problems(tmp_path / "s", check_contents=True) == []


def test_flipped_bits_are_found_and_all_of_them(place: Path) -> None:
    pack = place / "packs" / "00000000.pack"
    contents = bytearray(pack.read_bytes())
    store = PackStore(place)
    blobs = [location for _key, location in store.index.iterate(BLOB)]
    store.close()
    for _number, offset, length, _size in blobs[:3]:
        contents[offset + length // 2] ^= 1
    pack.write_bytes(contents)
    found = problems(place)
    assert len([reason for kind, reason in found if kind == "blob" and "checksum is wrong" in reason]) == 3
    assert all(kind == "blob" for kind, _reason in found)


def test_a_header_that_is_none_is_found(place: Path) -> None:
    pack = place / "packs" / "00000000.pack"
    with pack.open("r+b") as file:
        file.write(bytes(4))
    assert ("pack", "there is no record at byte 0, where one should begin") in problems(place)


def test_a_pack_that_lost_its_end_is_found(place: Path) -> None:
    pack = place / "packs" / "00000000.pack"
    size = pack.stat().st_size
    os.truncate(pack, size - 10)
    found = problems(place)
    assert ("pack", f"it has {size - 10} bytes; {size} were committed") in found
    assert any("ends too early" in reason for _kind, reason in found)


def test_a_pack_that_is_gone_is_found(place: Path) -> None:
    (place / "packs" / "00000000.pack").unlink()
    found = problems(place)
    assert {"blob", "chunk list", "directory", "path info"} == {kind for kind, _reason in found}
    assert any("is gone" in reason for _kind, reason in found)


def test_contents_that_aren_t_their_names_are_found_by_hashing(place: Path) -> None:
    put(place, BLOB, digest_of(b"right"), b"wrong")
    put(place, BLOB, digest_of(b"right, too"), b"wrong " * 100)
    assert problems(place) == []
    assert [kind for kind, reason in problems(place, check_contents=True) if "hash to" in reason] == ["blob", "blob"]


def test_a_chunk_list_of_another_blob_is_found_by_hashing(place: Path) -> None:
    store = PackStore(place)
    encoded = next(store.iterate(CHUNK_LIST))[1]
    store.put(CHUNK_LIST, digest_of(b"something else"), encoded)
    store.close()
    assert problems(place) == []
    assert [(kind, reason[:20]) for kind, reason in problems(place, check_contents=True)] == [
        ("chunk list", "its chunks make up b")
    ]


def test_a_chunk_that_isn_t_there_is_found(place: Path) -> None:
    put(place, CHUNK_LIST, digest_of(b"x"), digest_of(b"never stored") + (9).to_bytes(4, "little"))
    put(place, CHUNK_LIST, digest_of(b"y"), b"odd")
    found = problems(place)
    assert sorted((kind, reason.split()[0]) for kind, reason in found) == [("chunk list", "a"), ("chunk list", "chunk")]


def test_a_chunk_of_another_size_is_found(place: Path) -> None:
    put(place, BLOB, digest_of(b"chunk"), b"chunk")
    put(place, CHUNK_LIST, digest_of(b"x"), digest_of(b"chunk") + (6).to_bytes(4, "little"))
    assert [(kind, reason.endswith("has not 6 bytes")) for kind, reason in problems(place)] == [("chunk list", True)]


NOT_HERE = Digest(digest_of(b"never stored"))
HERE = digest_of(b"b")
BAD_DIRECTORIES: dict[str, tuple[Directory, str]] = {
    "a file of another size": (Directory.of([(Name(b"f"), FileNode(HERE, 3, False))]), "size 3, it has 1"),
    "a directory that isn't there": (Directory.of([(Name(b"d"), DirectoryNode(NOT_HERE, 3))]), "not in the store"),
}


@pytest.mark.parametrize("what", BAD_DIRECTORIES)
def test_a_directory_that_refers_to_what_isn_t_so(place: Path, what: str) -> None:
    directory, reason = BAD_DIRECTORIES[what]
    put(place, DIRECTORY, directory.digest, directory.encoded)
    found = problems(place)
    assert [kind for kind, _reason in found] == ["directory"]
    assert reason in found[0][1]


def test_a_directory_without_its_blobs_is_wrong_where_a_path_needs_it(place: Path) -> None:
    """An import that was interrupted may leave one; nobody refers to it."""
    directory = Directory.of([(Name(b"f"), FileNode(NOT_HERE, 3, False))])
    put(place, DIRECTORY, directory.digest, directory.encoded)
    assert problems(place) == []
    with open_store(f"pack:{place}") as store:
        assert verify_store(store).incomplete == 1
        (info,) = store.path_infos.list()
    needs = info._replace(path=StorePath(StorePathDigest(bytes(20)), "needs"), node=directory.node)
    put(place, PATH_INFO, needs.path.digest, encode_path_info(needs))
    assert [(kind, "not in the store" in reason) for kind, reason in problems(place)] == [("path info", True)]


def test_in_the_near_end_of_something_nothing_needs_to_be_complete(place: Path, tmp_path: Path) -> None:
    with open_store(f"cache:?near=pack:{tmp_path}/near&far=pack:{place}") as cache:
        (info,) = cache.path_infos.list()
        cache.path_infos.get_many([info.path.digest])
    assert problems(tmp_path / "near", check_contents=True) == []
    with open_store(f"cache:?near=pack:{tmp_path}/near&far=pack:{place}") as cache:
        assert isinstance(info.node, DirectoryNode)
        assert len(list(cache.directories.closure(info.node.digest))) == 3
    assert problems(tmp_path / "near", check_contents=True) == []


def test_a_directory_of_another_size_is_found(place: Path) -> None:
    store = PackStore(place)
    inner = next(Directory.trusted(Digest(key), bytes(encoded)) for key, encoded in store.iterate(DIRECTORY) if len(encoded) < 60)
    store.close()
    outer = Directory.of([(Name(b"d"), DirectoryNode(inner.digest, 99))])
    put(place, DIRECTORY, outer.digest, outer.encoded)
    assert [("size 99" in reason, kind) for kind, reason in problems(place)] == [(True, "directory")]


def test_a_directory_that_is_none_is_found(place: Path) -> None:
    put(place, DIRECTORY, digest_of(b"\xff\xff"), b"\xff\xff")
    put(place, DIRECTORY, digest_of(b"right"), b"wrong")
    assert [kind for kind, _reason in problems(place)] == ["directory", "directory"]


def test_path_infos_that_can_t_be_right_are_found(place: Path) -> None:
    with open_store(f"pack:{place}") as store:
        (info,) = store.path_infos.list()

    def other(number: int) -> StorePath:
        return StorePath(StorePathDigest(bytes([number]) * 20), "other")

    rootless = info._replace(path=other(1), node=DirectoryNode(NOT_HERE, 3))
    fileless = info._replace(path=other(2), node=FileNode(HERE, 77, False))
    put(place, PATH_INFO, rootless.path.digest, encode_path_info(rootless))
    put(place, PATH_INFO, fileless.path.digest, encode_path_info(fileless))
    put(place, PATH_INFO, bytes(20), encode_path_info(info))
    put(place, PATH_INFO, bytes([9]) * 20, b"\xff\xff")
    assert len([kind for kind, _reason in problems(place) if kind == "path info"]) == 4
    wrong_nar = info._replace(path=other(3), nar_size=info.nar_size + 8)
    put(place, PATH_INFO, wrong_nar.path.digest, encode_path_info(wrong_nar))
    assert len(problems(place)) == 4
    assert len(problems(place, check_contents=True)) == 5


def memory_store(tmp_path: Path) -> Store:
    blobs, directories = MemoryBlobService(), MemoryDirectoryService()
    store = Store(blobs, directories, MemoryPathInfoService(blobs, directories))
    import_path(store, make_tree(tmp_path / "tree", TREE))
    return store


def test_any_other_store_is_verified_by_what_it_tells(tmp_path: Path) -> None:
    store = memory_store(tmp_path)
    findings = verify_store(store, check_contents=True)
    assert (findings.problems, findings.counts) == ([], {"path info": 1, "directory": 3, "blob": 4})


BREAK: dict[str, Callable[[FaultyBlobService], None]] = {
    "other contents": lambda far: setattr(far, "mangle", lambda blob: blob[:-1] + b"!"),
    "shorter contents": lambda far: setattr(far, "mangle", lambda blob: blob[:-1]),
}


@pytest.mark.parametrize("what", BREAK)
def test_what_another_store_tells_wrongly_is_found(tmp_path: Path, what: str) -> None:
    inner = memory_store(tmp_path)
    blobs = FaultyBlobService(inner.blobs)
    BREAK[what](blobs)
    store = Store(blobs, inner.directories, MemoryPathInfoService(blobs, inner.directories))
    store.path_infos.put_many(inner.path_infos.list())
    assert verify_store(store).problems == []
    found = verify_store(store, check_contents=True).problems
    assert [each.kind for each in found].count("blob") == 4
    assert "path info" in [each.kind for each in found]


def test_a_store_that_is_away_is_an_error_not_a_finding(tmp_path: Path) -> None:
    inner = memory_store(tmp_path)
    blobs = FaultyBlobService(inner.blobs)
    blobs.down = True
    with pytest.raises(StoreUnavailable):
        verify_store(Store(blobs, inner.directories, inner.path_infos))


def test_what_a_bound_dropped_is_not_wrong(place: Path) -> None:
    store = PackStore(place, pack_bytes=1000)
    PackBlobService(store).put(LARGE[:300_000][::-1])
    store.trim(1000)
    store.close()
    with open_store(f"pack:{place}") as again:
        findings = verify_store(again, check_contents=True)
    assert findings.problems == []
