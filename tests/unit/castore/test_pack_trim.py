"""Stores with a bound: old packs go first, never one that somebody writes, and nobody reads anything wrong meanwhile."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tvix.castore.blobs.interface import Forgotten
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.pack import PackDirectoryService
from tvix.castore.pack import trim as trimming
from tvix.castore.pack.format import BLOB, DamagedPack
from tvix.castore.pack.index import Index
from tvix.castore.pack.rebuild import rebuild_index
from tvix.castore.pack.store import PackStore
from tvix.castore.pack.trim import room_for_packs
from tvix.castore.pack.verify import Findings, PackVerifier
from tvix.testing.directories_conformance import TREE

SMALL = [random.Random(number).randbytes(3000) for number in range(100)]
LARGE = random.Random(5).randbytes(1_500_000)


def packs(path: Path) -> list[str]:
    return sorted(pack.name for pack in (path / "packs").iterdir())


def size(path: Path) -> int:
    return sum(pack.stat().st_size for pack in (path / "packs").iterdir())


def on_disk(path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())


def verified(store: PackStore) -> Findings:
    findings = Findings()
    PackVerifier(store, findings, contents=True, step=lambda _bytes: None).run()
    return findings


def filled(path: Path) -> tuple[PackStore, list[Digest]]:
    store = PackStore(path, pack_bytes=20_000)
    blobs = PackBlobService(store)
    digests = [blobs.put(blob) for blob in SMALL]
    store.sync()
    return store, digests


def test_the_oldest_packs_go_first(tmp_path: Path) -> None:
    store, digests = filled(tmp_path / "s")
    before = packs(tmp_path / "s")
    dropped = store.trim(100_000)
    assert dropped > 150_000
    assert size(tmp_path / "s") <= 100_000
    assert packs(tmp_path / "s") == before[-len(packs(tmp_path / "s")) :]
    here = [not store.missing(BLOB, [digest]) for digest in digests]
    assert here == sorted(here), "the last that were stored are those that are there"
    assert 25 < here.count(True) < 40
    assert verified(store).problems == []


def test_a_store_within_its_bound_loses_nothing(tmp_path: Path) -> None:
    store, digests = filled(tmp_path / "s")
    assert store.trim(10 << 20) == 0
    assert store.missing(BLOB, digests) == set()
    assert not store.partial
    assert not (tmp_path / "s" / "partial").exists()


def test_a_bound_holds_while_it_is_written_to(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s", max_bytes=200_000, pack_bytes=20_000)
    blobs = PackBlobService(store)
    for number in range(500):
        blobs.put(random.Random(number).randbytes(3000))
        if number % 50 == 0:
            store.sync()
        assert size(tmp_path / "s") < 200_000 + 100_000
    store.close()
    assert size(tmp_path / "s") <= 200_000 + 20_000
    assert verified(PackStore(tmp_path / "s")).problems == []


def test_a_bound_is_on_what_the_disk_holds(tmp_path: Path) -> None:
    """Of small things the index is a good part."""
    bound, pack_bytes = 2_000_000, 100_000
    store = PackStore(tmp_path / "s", max_bytes=bound, pack_bytes=pack_bytes)
    blobs = PackBlobService(store)
    for number in range(3000):
        blobs.put(random.Random(number).randbytes(1000))
        if number % 250 == 0:
            store.sync()
            assert on_disk(tmp_path / "s") < bound + 2 * pack_bytes
    store.sync()
    assert bound / 2 < on_disk(tmp_path / "s") < bound + 2 * pack_bytes
    assert size(tmp_path / "s") < bound - 300_000
    store.close()


def test_an_index_that_has_grown_leaves_packs_a_quarter(tmp_path: Path) -> None:
    store, _digests = filled(tmp_path / "s")
    store.close()
    index = tmp_path / "s" / "index.lmdb"
    assert room_for_packs(str(tmp_path / "s"), 1 << 30) <= (1 << 30) - index.stat().st_blocks * 512
    assert room_for_packs(str(tmp_path / "s"), 1000) == 250


def test_what_another_process_writes_is_not_dropped(tmp_path: Path) -> None:
    writing = PackStore(tmp_path / "s")
    kept = PackBlobService(writing).put(b"kept")
    writing.sync()
    other, _digests = filled(tmp_path / "s")
    other.trim(0)
    assert "00000000.pack" in packs(tmp_path / "s")
    assert writing.get(BLOB, kept) == b"kept"
    writing.close()
    other.trim(0)
    assert packs(tmp_path / "s") == packs(tmp_path / "s")[-1:]
    assert other.get(BLOB, kept) is None


def test_a_number_never_comes_twice(tmp_path: Path) -> None:
    """Processes that read keep a pack open by its number."""
    seen: set[str] = set()
    for _ in range(4):
        store, _digests = filled(tmp_path / "s")
        store.trim(0)
        new = set(packs(tmp_path / "s"))
        assert not new & seen or new == {max(seen)}
        seen |= new
        store.close()


def test_the_highest_number_stays_though_nobody_holds_it(tmp_path: Path) -> None:
    store, _digests = filled(tmp_path / "s")
    store.close()
    highest = packs(tmp_path / "s")[-1]
    PackStore(tmp_path / "s").trim(0)
    assert packs(tmp_path / "s") == [highest]


def test_what_lies_in_another_pack_too_stays(tmp_path: Path) -> None:
    first, second = PackStore(tmp_path / "s"), PackStore(tmp_path / "s")
    digests = [PackBlobService(store).put(b"both") for store in (first, second)]
    key = b"\x01" + digests[0]
    for store in (first, second):
        store.locate([key])  # which writes it
    second.sync()
    first.sync()
    first.close()
    location = second.locate([key])[0]
    assert location is not None
    assert location[0] == 1
    second.trim(0)
    assert packs(tmp_path / "s") == ["00000001.pack"]
    assert second.get(BLOB, digests[0]) == b"both"


def test_dropped_packs_take_no_space(tmp_path: Path) -> None:
    store, digests = filled(tmp_path / "s")
    store.get_many(BLOB, digests)
    store.trim(0)
    links = [
        os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{name}")
    ]
    assert not [link for link in links if link.startswith(str(tmp_path)) and "deleted" in link]


def test_who_reads_meanwhile_goes_on_or_is_told(tmp_path: Path) -> None:
    store, digests = filled(tmp_path / "s")
    large = PackBlobService(store).put(LARGE)
    store.sync()
    reading = PackBlobService(PackStore(tmp_path / "s"))
    readers = [reading.open(digest) for digest in (digests[0], digests[-1], large)]
    store.trim(0)
    for reader in readers:
        assert reader is not None
        with pytest.raises(Forgotten, match="just dropped"):
            reader.read_at(0, 100)
    assert reading.missing([digests[0], large]) == {digests[0], large}
    assert [contents for _digest, contents in reading.read_many([digests[0], large])] == [None, None]
    assert reading.read_stored([digests[0]]) == [None]
    assert reading.open(large) is None


def test_a_pack_that_was_opened_before_can_still_be_read(tmp_path: Path) -> None:
    store, digests = filled(tmp_path / "s")
    reader = PackBlobService(store).open(digests[0])
    assert reader is not None
    assert bytes(reader.read_at(0, 10)) == SMALL[0][:10]
    trimming.trim(str(tmp_path / "s"), Index(str(tmp_path / "s" / "index.lmdb")), 0)
    assert bytes(reader.read_at(0, 3000)) == SMALL[0]
    store.files.let_go()
    with pytest.raises(Forgotten):
        reader.read_at(0, 3000)


def test_a_pack_that_is_gone_is_damage_where_nothing_may_be_dropped(tmp_path: Path) -> None:
    store, digests = filled(tmp_path / "s")
    (tmp_path / "s" / "packs" / "00000000.pack").unlink()
    with pytest.raises(DamagedPack, match="is gone"):
        PackStore(tmp_path / "s").get(BLOB, digests[0])
    store.close()


def test_what_is_not_told_the_index_yet_may_be_dropped_by_another(tmp_path: Path) -> None:
    """This process has filled packs and let them go; what it then tells the index of them is left out."""
    store = PackStore(tmp_path / "s", pack_bytes=20_000)
    blobs = PackBlobService(store)
    writer = blobs.writer()
    writer.write(LARGE)
    PackStore(tmp_path / "s").trim(0)
    digest = writer.close()
    assert blobs.open(digest) is None or store.partial
    store.sync()
    assert blobs.open(digest) is None
    assert blobs.missing([digest]) == {digest}
    assert blobs.known_chunks(digest) is not None
    assert verified(store).problems == []
    for chunk in blobs.known_chunks(digest) or ():
        contents = store.get(BLOB, chunk.digest)
        assert contents is None or digest_of(contents) == chunk.digest


def test_a_pack_with_a_damaged_header_is_dropped_too(tmp_path: Path) -> None:
    store, digests = filled(tmp_path / "s")
    with (tmp_path / "s" / "packs" / "00000001.pack").open("r+b") as pack:
        pack.write(bytes(48))
    store.trim(0)
    assert packs(tmp_path / "s") == packs(tmp_path / "s")[-1:]
    assert sum(1 for _ in store.index.iterate(BLOB)) < 10
    assert store.missing(BLOB, digests[:90]) == set(digests[:90])


def test_directories_may_be_dropped_from_below(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s", pack_bytes=100)
    directories = PackDirectoryService(store)
    for directory in TREE:
        directories.put([directory])
        store.sync()
    assert len(packs(tmp_path / "s")) > 2
    store.trim(300)
    assert directories.partial
    findings = verified(store)
    assert findings.problems == []
    assert findings.incomplete > 0


def test_two_at_once_don_t_drop_twice_as_much(tmp_path: Path) -> None:
    store, _digests = filled(tmp_path / "s")
    store.close()
    stores = [PackStore(tmp_path / "s") for _ in range(4)]
    threads = [threading.Thread(target=store.trim, args=(150_000,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 110_000 < size(tmp_path / "s") <= 150_000


MOMENTS: dict[str, Callable[[int], bool]] = {
    "before anything is forgotten": lambda calls: calls == 0,
    "when the first pack is forgotten": lambda calls: calls == 1,
    "some packs later": lambda calls: calls == 4,
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("where", ["index", "unlink"])
def test_killed_while_dropping(tmp_path: Path, moment: str, where: str) -> None:
    store, digests = filled(tmp_path / "s")
    store.close()

    def die_at(call: Callable[..., object]) -> Callable[..., object]:
        calls = 0

        def dies(*arguments: object, **named: object) -> object:
            nonlocal calls
            if MOMENTS[moment](calls):
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            return call(*arguments, **named)

        return dies

    child = os.fork()
    if child == 0:
        try:
            mine = PackStore(tmp_path / "s", pack_bytes=20_000)
            PackBlobService(mine).put(b"mine")
            trimming._BATCH = 2
            if where == "index":
                Index.drop = die_at(Index.drop)  # type: ignore[assignment,method-assign]
            else:
                os.unlink = die_at(os.unlink)  # type: ignore[assignment]
            mine.trim(0)
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    again = PackStore(tmp_path / "s", pack_bytes=20_000)
    assert verified(again).problems == []
    for digest, blob in zip(digests, SMALL, strict=True):
        assert again.get(BLOB, digest) in (None, blob)
    assert [PackBlobService(again).put(blob) for blob in SMALL] == digests
    again.sync()
    assert again.missing(BLOB, digests) == set()
    again.trim(0)
    assert len(packs(tmp_path / "s")) <= 2
    assert verified(again).problems == []
    again.close()
    assert rebuild_index(tmp_path / "s").damaged == []
