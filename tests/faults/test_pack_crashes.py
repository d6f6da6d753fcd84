"""A process that writes to a pack store dies at the worst moments; the disk fills up; two processes write at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tvix.castore.blobs.interface import BlobService
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.digests import digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directories.pack import PackDirectoryService
from tvix.castore.export import export_tree
from tvix.castore.ingest.filesystem import ingest_tree
from tvix.castore.pack import index, writer
from tvix.castore.pack.format import BLOB, CHUNK_LIST, DIRECTORY, DiskFull, StoreFailed
from tvix.castore.pack.rebuild import rebuild_index
from tvix.castore.pack.store import PackStore

LARGE = random.Random(9).randbytes(2_000_000)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_instead_of_fdatasync(_fd: int) -> None:
    die()


def die_before_the_index(*_arguments: object) -> None:
    die()


def die_in_the_middle_of_a_write(fd: int, buffers: list[bytes], offset: int) -> int:
    data = b"".join(buffers)
    os.pwrite(fd, data[: len(data) * 2 // 3], offset)
    die()
    return 0


MOMENTS: dict[str, Callable[[], None]] = {
    "in the middle of a write": lambda: setattr(writer.os, "pwritev", die_in_the_middle_of_a_write),
    "before the data is durable": lambda: setattr(writer.os, "fdatasync", die_instead_of_fdatasync),
    "before the index knows": lambda: setattr(index.Index, "commit", die_before_the_index),
}


def in_a_child(work: Callable[[], None]) -> int:
    """Run `work` in a child process: its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("rebuild", [False, True])
def test_a_killed_writer_leaves_whole_records_or_none(tmp_path: Path, moment: str, rebuild: bool) -> None:
    store = PackStore(tmp_path / "s")
    blobs = PackBlobService(store)
    before = [blobs.put(b"before %d" % number) for number in range(10)]
    store.close()

    def write_and_die() -> None:
        mine = PackBlobService(PackStore(tmp_path / "s"))
        mine.put(b"warm")
        mine.sync()
        MOMENTS[moment]()
        mine.put(LARGE)
        for number in range(2000):
            mine.put(b"never told of %d" % number)
        mine.sync()

    assert in_a_child(write_and_die) == -signal.SIGKILL
    if rebuild:
        rebuild_index(tmp_path / "s")
    store = PackStore(tmp_path / "s")
    blobs = PackBlobService(store)
    assert blobs.missing([*before, digest_of(b"warm")]) == set()
    for key, contents in store.iterate(BLOB):
        assert digest_of(contents) == key
    if not rebuild:
        assert len(list(store.iterate(BLOB))) == 11
        assert blobs.open(digest_of(LARGE)) is None
    for _key, _contents in store.iterate(CHUNK_LIST):
        reader = blobs.open(digest_of(LARGE))
        assert reader is not None
        assert bytes(reader.read_at(0, len(LARGE))) == LARGE
    large = blobs.put(LARGE)  # the same again, over what was left
    store.close()
    again = PackBlobService(PackStore(tmp_path / "s"))
    reader = again.open(large)
    assert reader is not None
    assert bytes(reader.read_at(0, len(LARGE))) == LARGE
    assert len(list((tmp_path / "s" / "packs").iterdir())) == 1
    assert rebuild_index(tmp_path / "s").damaged == []


@pytest.mark.parametrize("seed", range(40 if os.environ.get("TVIX_SOAK") == "1" else 4))
def test_a_writer_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    """Whatever was synced before the kill is there; everything that is there is right."""
    path = tmp_path / "s"
    reading, writing = os.pipe()

    def write_for_ever() -> None:
        store = PackStore(path)
        blobs = PackBlobService(store, 1024)
        chance = random.Random(seed)
        number = 0
        while True:
            for _ in range(chance.randrange(1, 200)):
                number += 1
                blobs.put(b"%d" % number * chance.randrange(1, 2000))
            store.sync()
            os.write(writing, b"%d\n" % number)

    child = os.fork()
    if child == 0:
        try:
            write_for_ever()
        finally:
            os._exit(1)
    os.close(writing)
    told = b""
    wanted = random.Random(seed).randrange(1, 25)
    while told.count(b"\n") < wanted:
        more = os.read(reading, 100)
        assert more, "the writer died by itself"
        told += more
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    store = PackStore(path)
    known = dict(store.iterate(BLOB))
    assert all(digest_of(contents) == key for key, contents in known.items())
    for key, _encoded in store.iterate(CHUNK_LIST):
        reader = PackBlobService(store).open(key)  # type: ignore[arg-type]
        assert reader is not None
        assert digest_of(reader.read_at(0, reader.size)) == key
    report = rebuild_index(path)
    assert report.damaged == []
    assert report.records >= len(known)


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    def write(side: int) -> Callable[[], None]:
        def work() -> None:
            store = PackStore(tmp_path / "s")
            blobs = PackBlobService(store)
            for number in range(3000):
                blobs.put(b"%d" % (number // 2 * 2 + side if number % 2 else number))  # half of it is common to both
                if number % 500 == 0:
                    store.sync()
            store.close()

        return work

    PackStore(tmp_path / "s")
    children = []
    for side in range(2):
        child = os.fork()
        if child == 0:
            try:
                write(side)()
                os._exit(0)
            except BaseException:
                os._exit(99)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    store = PackStore(tmp_path / "s")
    wanted = {digest_of(b"%d" % (number // 2 * 2 + side if number % 2 else number)) for side in range(2) for number in range(3000)}
    assert store.missing(BLOB, wanted) == set()
    assert all(digest_of(contents) == key for key, contents in store.iterate(BLOB))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 3 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(blobs: BlobService) -> list[bytes]:
    """Store until there is no room: the digests of what was taken."""
    taken: list[bytes] = []
    try:
        for number in range(10_000):
            taken += [blobs.put(random.Random(number).randbytes(2000))]
    except DiskFull:
        return taken
    raise AssertionError("the disk isn't small")


@pytest.mark.root
def test_a_full_disk_is_an_error_and_nothing_is_half_written(small_disk: Path) -> None:
    store = PackStore(small_disk / "s")
    blobs = PackBlobService(store)
    kept = blobs.put(b"kept")
    store.sync()
    fill(blobs)
    with pytest.raises(DiskFull):
        store.sync()
    with pytest.raises(DiskFull):
        store.close()
    again = PackStore(small_disk / "s")
    assert [key for key, _contents in again.iterate(BLOB)] == [kept]
    assert sum(pack.stat().st_size for pack in (small_disk / "s" / "packs").iterdir()) < 200
    assert rebuild_index(small_disk / "s").records == 1


@pytest.mark.root
def test_nothing_is_lost_when_the_disk_has_room_again(small_disk: Path) -> None:
    store = PackStore(small_disk / "s")
    blobs = PackBlobService(store)
    taken = fill(blobs)
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    store.sync()
    assert PackBlobService(PackStore(small_disk / "s")).missing(taken) == set()  # type: ignore[arg-type]
    store.close()
    assert all(digest_of(contents) == key for key, contents in PackStore(small_disk / "s").iterate(BLOB))


@pytest.mark.root
def test_a_large_blob_that_doesn_t_fit_leaves_nothing(small_disk: Path) -> None:
    store = PackStore(small_disk / "s")
    blob = PackBlobService(store).writer()
    with pytest.raises(DiskFull, match="no space is left"):
        blob.write(random.Random(1).randbytes(10 << 20))
    blob.abort()
    store.close()
    again = PackStore(small_disk / "s")
    assert list(again.iterate(BLOB)) == []
    put = PackBlobService(again).put(LARGE)
    again.close()
    assert PackStore(small_disk / "s").missing(CHUNK_LIST, [put]) == set()


@pytest.mark.root
def test_a_tree_that_doesn_t_fit_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(10):
        (tree / str(number)).write_bytes(random.Random(number).randbytes(400_000))
    store = PackStore(small_disk / "s")
    with pytest.raises(DiskFull):
        ingest_tree(tree, PackBlobService(store), PackDirectoryService(store))
    store.close()
    assert sum(pack.stat().st_size for pack in (small_disk / "s" / "packs").iterdir()) < 3_000_000
    assert list(PackStore(small_disk / "s").iterate(DIRECTORY)) == []


@pytest.mark.root
def test_an_export_that_doesn_t_fit_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "large").write_bytes(bytes(5_000_000))
    blobs, directories = MemoryBlobService(), MemoryDirectoryService()
    node = ingest_tree(tree, blobs, directories)
    with pytest.raises(DiskFull):
        export_tree(blobs, directories, node, small_disk / "out")
    assert os.listdir(small_disk) == []


@pytest.mark.root
def test_a_store_on_a_read_only_file_system_can_be_read(small_disk: Path) -> None:
    store = PackStore(small_disk / "s")
    digest = PackBlobService(store).put(LARGE[:100_000])
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    store = PackStore(small_disk / "s")
    blobs = PackBlobService(store)
    reader = blobs.open(digest)
    assert reader is not None
    assert bytes(reader.read_at(0, 1 << 20)) == LARGE[:100_000]
    store.sync()
    blobs.put(b"new")
    with pytest.raises(StoreFailed, match="Read-only file system"):
        store.sync()
    with pytest.raises(StoreFailed):
        store.close()


@pytest.mark.root
def test_a_store_can_t_be_made_on_a_read_only_file_system(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreFailed, match="can't be made: Read-only file system"):
        PackStore(small_disk / "s")
