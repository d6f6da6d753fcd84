"""Every write, fsync, rename and commit of an import and of a near end fails in turn: nothing is half there or read wrong.

`make soak` lets each moment fail in each way; otherwise a seeded tenth of the moments, and always the first and the last ones.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tvix.castore.addresses import Castore
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.digests import digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directories.pack import PackDirectoryService
from tvix.castore.nodes import DirectoryNode, FileNode
from tvix.castore.pack.format import BLOB, DiskFull, StoreFailed
from tvix.castore.pack.place import prepare
from tvix.castore.pack.rebuild import rebuild_index
from tvix.castore.pack.store import PackStore
from tvix.store.importing import import_path
from tvix.store.near_far import near_far
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.path_infos.pack import PackPathInfoService
from tvix.store.store import Store
from tvix.store.verify import verify_store
from tvix.testing.failing_disk import FailingDisk
from tvix.testing.fetch_ends import Ends, text
from tvix.testing.trees import Tree, make_tree

SOAK = os.environ.get("TVIX_SOAK") == "1"
NOISE = random.Random(4).randbytes(900_000)
BEFORE: Tree = {b"before": b"what was there before\n" * 100}
TREE: Tree = {
    b"large": NOISE[:400_000],
    b"text": b"again and again\n" * 1000,
    b"below": {b"%d" % number: NOISE[number * 3000 : number * 3100] for number in range(1, 120)},
    b"other": NOISE[500_000:],
}


class Way(NamedTuple):
    """How the disk fails."""

    number: int
    stays: bool
    short: bool = False


WAYS = {
    "full for a moment": Way(errno.ENOSPC, stays=False),
    "full": Way(errno.ENOSPC, stays=True),
    "broken for a moment": Way(errno.EIO, stays=False),
    "broken": Way(errno.EIO, stays=True),
    "short writes": Way(0, stays=False, short=True),
}


def pack_store(path: Path, max_bytes: int | None = None, *, partial: bool = False) -> Store:
    """With small packs, so that a small import fills several."""
    pack = PackStore(path, max_bytes=max_bytes, pack_bytes=100_000, partial=partial)
    blobs, directories = PackBlobService(pack), PackDirectoryService(pack)
    return Store(blobs, directories, PackPathInfoService(pack, blobs, directories))


def check_sound(path: Path, max_bytes: int | None = None) -> list[PathInfo]:
    """The store is sound in every way; the path infos that are in it."""
    with pack_store(path, max_bytes) as store:
        findings = verify_store(store, check_contents=True)
        assert findings.problems == []
        return list(store.path_infos.list())


def moments(count: int, seed: int) -> Iterator[int]:
    """Which moments are to fail."""
    chosen = range(count) if SOAK else {0, 1, count - 2, count - 1, *random.Random(seed).sample(range(count), count // 10)}
    yield from sorted(chosen)


class Import:
    """An import into a store that has something already, which may be repeated from the beginning."""

    def __init__(self, tmp_path: Path) -> None:
        self.template, self.path = tmp_path / "template", tmp_path / "store"
        with pack_store(self.template) as store:
            self.before = import_path(store, make_tree(tmp_path / "before", BEFORE))
        self.tree = make_tree(tmp_path / "tree", TREE)

    def run(self, disk: FailingDisk) -> None:
        """Import, and let go of the store whether it worked or not."""
        with disk:
            store = pack_store(self.path)
            try:
                import_path(store, self.tree)
            finally:
                store.close()

    def fresh(self) -> None:
        """The store as it was before."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self.template, self.path)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: what is durable there makes no difference, and thousands of fsyncs do."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="tvix-", dir=shared if shared.is_dir() else tmp_path) as path:
        yield Path(path)


@pytest.mark.soak
@pytest.mark.parametrize("how", WAYS)
def test_whatever_fails_an_import_is_whole_or_not_there(place: Path, how: str, seed: int) -> None:
    way = WAYS[how]
    work = Import(place)
    work.fresh()
    disk = FailingDisk(work.path, None, way.number, short=way.short)
    work.run(disk)
    assert {"pwritev", "fdatasync", "fsync", "commit", "create"} <= set(disk.calls) or way.short
    assert len(disk.calls) > 10
    failed = 0
    for moment in moments(len(disk.calls), seed):
        work.fresh()
        try:
            work.run(FailingDisk(work.path, moment, way.number, stays=way.stays, short=way.short))
        except DiskFull:
            assert way.number == errno.ENOSPC
            failed += 1
        except StoreFailed:
            assert way.number == errno.EIO
            failed += 1
        there = check_sound(work.path)
        assert work.before in there, moment
        work.run(FailingDisk(work.path, None))
        assert len(check_sound(work.path)) == 2, moment
    assert way.short or failed > 3


@pytest.mark.soak
@pytest.mark.parametrize("how", WAYS)
def test_whatever_fails_while_a_store_is_made(place: Path, how: str) -> None:
    way = WAYS[how]
    disk = FailingDisk(place / "count", None, way.number, short=way.short)
    with disk:
        prepare(str(place / "count"))
    assert {"write", "fsync", "rename", "create"} <= set(disk.calls) or way.short
    for moment in range(len(disk.calls)):
        path = place / str(moment)
        with suppress(DiskFull, StoreFailed), FailingDisk(path, moment, way.number, stays=way.stays, short=way.short):
            prepare(str(path))
        assert check_sound(path) == []


def test_what_a_failed_sync_lost_is_never_said_to_be_there(place: Path) -> None:
    """Somebody else's sync may follow the one that failed: it must not say that all is well."""
    store = PackStore(place / "s")
    blobs = PackBlobService(store)
    kept = blobs.put(b"kept")
    store.sync()
    disk = FailingDisk(place, None)
    with disk:
        blobs.put(b"counted")
        store.sync()
    writer = blobs.writer()
    writer.write(NOISE[:500_000])
    lost = blobs.put(NOISE[:1000])
    with FailingDisk(place, disk.calls.index("fdatasync")), pytest.raises(StoreFailed):
        store.sync()
    for _ in range(2):
        with pytest.raises(StoreFailed):
            store.sync()
    with pytest.raises(StoreFailed):
        writer.close()
    with pytest.raises(StoreFailed):
        store.close()
    again = PackStore(place / "s")
    assert PackBlobService(again).missing([kept, lost]) == {lost}
    again.close()
    check_sound(place / "s")


def test_what_was_written_ahead_of_a_failed_sync_can_t_be_published(place: Path) -> None:
    store = PackStore(place / "s", partial=True)
    key = bytes([BLOB]) + digest_of(NOISE[:3000])
    staged: dict[bytes, tuple[int, int, int, int]] = {}
    store.stage([(key, NOISE[:3000])], staged)
    with FailingDisk(place, 0), pytest.raises(StoreFailed):
        store.sync()
    with pytest.raises(StoreFailed, match="has lost"):
        store.publish(staged)
    store.discard(staged)
    assert store.get(BLOB, key[1:]) is None
    store.close()
    check_sound(place / "s")


def test_a_near_end_starts_over_after_a_failed_sync(place: Path) -> None:
    store = PackStore(place / "s", partial=True)
    blobs = PackBlobService(store)
    disk = FailingDisk(place, None)
    with disk:
        blobs.put(b"counted")
        store.sync()
    large = blobs.put(NOISE[:500_000])
    with FailingDisk(place, disk.calls.index("fdatasync") - disk.calls.index("pwritev")), pytest.raises(StoreFailed):
        store.sync()
    assert blobs.open(large) is None
    assert blobs.put(NOISE[:500_000]) == large
    store.sync()
    reader = blobs.open(large)
    assert reader is not None
    assert bytes(reader.read_at(0, 500_000)) == NOISE[:500_000]
    store.close()
    check_sound(place / "s")


def test_a_pack_that_can_t_be_made_is_let_go(place: Path) -> None:
    store = PackStore(place / "s")
    store.put(BLOB, digest_of(b"x"), b"x")
    with FailingDisk(place, 1), pytest.raises(StoreFailed):  # after the file was made
        store.sync()
    assert list((place / "s" / "packs").iterdir()) == []
    assert rebuild_index(place / "s").packs == 0
    store.sync()
    assert store.get(BLOB, digest_of(b"x")) == b"x"
    store.close()


class Far:
    """A far end and everything in it."""

    def __init__(self, place: Path) -> None:
        blobs, directories = MemoryBlobService(), MemoryDirectoryService()
        self.store = Store(blobs, directories, MemoryPathInfoService(blobs, directories))
        self.info = import_path(self.store, make_tree(place / "tree", TREE))
        assert type(self.info.node) is DirectoryNode
        self.directories = list(directories.closure(self.info.node.digest))
        nodes = [node for each in self.directories for node in each.entries.values()]
        self.contents = {node.digest: b"" for node in nodes if type(node) is FileNode}
        self.contents = {digest: bytes(blob or b"") for digest, blob in blobs.read_many(self.contents)}


def read_everything(far: Far, store: Store) -> None:
    """As a mount would, and then once more: every answer is right, whatever becomes of the near end."""
    assert type(far.info.node) is DirectoryNode
    for _ in range(2):
        assert store.path_infos.get_many([far.info.path.digest]) == {far.info.path.digest: far.info}
        assert list(store.directories.closure(far.info.node.digest)) == far.directories
        for digest, contents in far.contents.items():
            reader = store.blobs.open(digest)
            assert reader is not None
            assert bytes(reader.read_at(0, len(contents))) == contents
            reader.close()
        found = [(digest, bytes(blob or b"")) for digest, blob in store.blobs.read_many(far.contents)]
        assert found == list(far.contents.items())


@pytest.mark.soak
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("max_bytes", [None, 400_000], ids=["unbounded", "bounded"])
def test_whatever_fails_near_what_is_read_is_right(
    place: Path, how: str, max_bytes: int | None, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tvix.castore.pack.pending.FULL_RECORDS", 20)  # so that every kind of record meets a failure
    way = WAYS[how]
    far = Far(place)
    path = place / "near"

    def run(disk: FailingDisk) -> None:
        shutil.rmtree(path, ignore_errors=True)
        near = pack_store(path, max_bytes, partial=True)
        with disk:
            read_everything(far, near_far(near, far.store, "far:"))
            with suppress(DiskFull, StoreFailed):
                near.close()

    disk = FailingDisk(path, None, way.number, short=way.short)
    run(disk)
    assert {"pwritev", "fdatasync", "commit", "create"} <= set(disk.calls) or way.short
    assert max_bytes is None or way.number != errno.EIO or "unlink" in disk.calls
    check_sound(path, max_bytes)
    for moment in moments(len(disk.calls), seed):
        run(FailingDisk(path, moment, way.number, stays=way.stays, short=way.short))
        check_sound(path, max_bytes)
        with pack_store(path, max_bytes, partial=True) as near:
            read_everything(far, near_far(near, far.store, "far:"))
        check_sound(path, max_bytes)


@pytest.mark.soak
@pytest.mark.parametrize("how", WAYS)
def test_whatever_fails_near_a_mount_what_is_read_is_right(
    place: Path, how: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where what comes is kept by a mount: in whatever order, chunk by chunk, as it was stored."""
    monkeypatch.setattr("tvix.castore.pack.pending.FULL_RECORDS", 20)
    monkeypatch.setattr("tvix.castore.transfer.near_end.STAGED_BYTES", 50_000)
    way = WAYS[how]
    far = Far(place)
    path = place / "near"

    def run(disk: FailingDisk) -> None:
        shutil.rmtree(path, ignore_errors=True)
        near = pack_store(path, partial=True)
        with disk:
            read_by_scheduler(far, near)

    disk = FailingDisk(path, None, way.number, short=way.short)
    run(disk)
    assert {"pwritev", "commit", "create"} <= set(disk.calls) or way.short
    for moment in moments(len(disk.calls), seed):
        run(FailingDisk(path, moment, way.number, stays=way.stays, short=way.short))
        check_sound(path)
        read_by_scheduler(far, pack_store(path, partial=True))
        check_sound(path)


def read_by_scheduler(far: Far, near: Store) -> None:
    """A closure, and every file of it twice."""
    assert type(far.info.node) is DirectoryNode
    ends = Ends(Castore(near.blobs, near.directories), Castore(far.store.blobs, far.store.directories), trusts_lists=True)
    ends.scheduler.open_root(far.info.node.digest, push=False, done=lambda _directory: None)
    ends.pump()
    for _ in range(2):
        for digest, contents in far.contents.items():
            found = ends.scheduler.read(digest, len(contents), 0, len(contents), ends.done)
            if found is None:
                ends.pump()
                found = ends.got.pop()  # type: ignore[assignment]
            assert text(found) == contents
    ends.scheduler.close()
    with suppress(DiskFull, StoreFailed):
        near.close()
