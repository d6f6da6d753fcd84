"""A far directory store that lies or breaks off: never a wrong tree, and nothing of it near afterwards."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.digests import digest_of
from tvix.castore.directories.interface import CorruptDirectory, IncompleteClosure, WrongDirectorySize
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directories.near_far import NearFarDirectoryService
from tvix.castore.directory import Directory, encode_file_entry
from tvix.castore.nodes import DirectoryNode, FileNode, check_name
from tvix.errors import TvixError
from tvix.testing.directories_conformance import BLOB, EMPTY, LEAF, MIDDLE, ROOT, TREE, directory
from tvix.testing.faulty import FaultyDirectoryService


@pytest.fixture
def far() -> FaultyDirectoryService:
    service = FaultyDirectoryService(MemoryDirectoryService())
    service.inner.put(TREE)
    return service


STRANGER = directory(x=FileNode(BLOB, 1, False))
UNSORTED = Directory.trusted(ROOT.digest, encode_file_entry(b"b", BLOB, 1, False) + encode_file_entry(b"a", BLOB, 1, False))

LIES: dict[str, tuple[Callable[[list[Directory]], list[Directory]], type[TvixError]]] = {
    "another root": (lambda told: [STRANGER, *told[1:]], CorruptDirectory),
    "another under its name": (lambda told: [Directory.trusted(told[0].digest, STRANGER.encoded), *told[1:]], CorruptDirectory),
    "a stranger at the end": (lambda told: [*told, STRANGER], CorruptDirectory),
    "children before parents": (lambda told: told[::-1], CorruptDirectory),
    "the last one missing": (lambda told: told[:-1], IncompleteClosure),
    "the root alone": (lambda told: told[:1], IncompleteClosure),
    "no root": (lambda told: told[1:], CorruptDirectory),
    "not canonical": (lambda told: [UNSORTED, *told[1:]], CorruptDirectory),
    "not a directory": (lambda told: [Directory.trusted(told[0].digest, b"\xff\xff"), *told[1:]], CorruptDirectory),
    "cut short": (lambda told: [Directory.trusted(told[0].digest, told[0].encoded[:-1]), *told[1:]], CorruptDirectory),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("ask", ["get_many", "closure"])
def test_a_lie_is_refused(far: FaultyDirectoryService, lie: str, ask: str) -> None:
    mangle, error = LIES[lie]
    far.mangle = mangle
    near = MemoryDirectoryService()
    service = NearFarDirectoryService(near, far, "far:")
    with pytest.raises(error, match="far:"):
        service.get_many([ROOT.digest]) if ask == "get_many" else list(service.closure(ROOT.digest))
    everything = {each.digest for each in (*TREE, STRANGER)}
    assert near.missing(everything) == everything
    far.mangle = None
    assert service.get_many([ROOT.digest])[ROOT.digest].encoded == ROOT.encoded


@pytest.mark.parametrize("size", [0, 3, LEAF.size + 1, 1 << 63])
def test_a_size_that_isn_t_so_is_refused(size: int) -> None:
    liar = directory(leaf=DirectoryNode(LEAF.digest, size))
    far = FaultyDirectoryService(MemoryDirectoryService())
    far.inner.put([LEAF])
    far.mangle = lambda _told: [liar, LEAF]
    near = MemoryDirectoryService()
    with pytest.raises(WrongDirectorySize):
        NearFarDirectoryService(near, far, "far:").get_many([liar.digest])
    assert near.missing([liar.digest, LEAF.digest]) == {liar.digest, LEAF.digest}


def test_a_size_that_one_of_two_parents_lies_about_is_refused() -> None:
    liar = directory(leaf=DirectoryNode(LEAF.digest, 9))
    root = directory(honest=LEAF.node, liar=liar.node)
    far = FaultyDirectoryService(MemoryDirectoryService())
    for order in ([root, liar, LEAF], [root, LEAF, liar]):
        far.mangle = lambda _told, order=order: order
        with pytest.raises(WrongDirectorySize):
            NearFarDirectoryService(MemoryDirectoryService(), far, "far:").get_many([root.digest])


@pytest.mark.parametrize("after", range(len(TREE)))
def test_a_stream_that_breaks_off_leaves_nothing(far: FaultyDirectoryService, after: int) -> None:
    far.down_after = after
    near = MemoryDirectoryService()
    with pytest.raises(StoreUnavailable):
        NearFarDirectoryService(near, far, "far:").get_many([ROOT.digest])
    assert len(near.missing([each.digest for each in TREE])) == len(TREE)


def test_a_far_end_that_is_away_leaves_near_readable(far: FaultyDirectoryService) -> None:
    service = NearFarDirectoryService(MemoryDirectoryService(), far, "far:")
    service.get_many([MIDDLE.digest])
    far.down = True
    assert service.get_many([MIDDLE.digest, LEAF.digest]).keys() == {MIDDLE.digest, LEAF.digest}
    assert len(list(service.closure(MIDDLE.digest))) == 2
    with pytest.raises(StoreUnavailable):
        service.get_many([ROOT.digest])
    with pytest.raises(StoreUnavailable):
        service.closure(EMPTY.digest)


def test_the_first_miss_brings_everything_below_in_one_call(far: FaultyDirectoryService) -> None:
    service = NearFarDirectoryService(MemoryDirectoryService(), far, "far:")
    service.get_many([ROOT.digest])
    service.get_many([each.digest for each in TREE])
    list(service.closure(MIDDLE.digest))
    assert far.calls == {"closure": 1}


def test_what_far_doesn_t_have_is_left_out(far: FaultyDirectoryService) -> None:
    absent = digest_of(b"absent")
    service = NearFarDirectoryService(MemoryDirectoryService(), far, "far:")
    assert service.get_many([absent, LEAF.digest]).keys() == {LEAF.digest}
    assert list(service.closure(absent)) == []


def test_askers_at_the_same_time_share_one_call(far: FaultyDirectoryService) -> None:
    far.gate = Event()
    service = NearFarDirectoryService(MemoryDirectoryService(), far, "far:")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(service.get_many, [ROOT.digest]) for _ in range(8)]
        assert far.reached.wait(60)
        far.gate.set()
        assert all(ROOT.digest in each.result() for each in asked)
    assert far.calls["closure"] == 1


def test_a_hundred_thousand_entries_are_no_trouble() -> None:
    wide = Directory.of([(check_name(b"%07d" % number), FileNode(BLOB, 1, False)) for number in range(100_000)])
    far = MemoryDirectoryService()
    far.put([wide])
    service = NearFarDirectoryService(MemoryDirectoryService(), far, "far:")
    assert len(service.get_many([wide.digest])[wide.digest].entries) == 100_000
