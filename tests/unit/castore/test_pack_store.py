"""The pack store: what is on disk, what other processes see, what goes wrong."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

import tvix.castore.pack.index
import tvix.castore.pack.writer
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.digests import digest_of
from tvix.castore.directories.pack import PackDirectoryService
from tvix.castore.pack.format import (
    BLOB,
    CHUNK_LIST,
    DIRECTORY,
    HEADER_BYTES,
    OVERHEAD_BYTES,
    PATH_INFO,
    DamagedPack,
    NewerFormat,
    NotAPackStore,
    RecordTooLarge,
)
from tvix.castore.pack.rebuild import StoreBusy, rebuild_index
from tvix.castore.pack.store import PackStore
from tvix.testing.directories_conformance import LEAF, MIDDLE, TREE

LARGE = random.Random(5).randbytes(1_500_000)


def put(store: PackStore, contents: bytes) -> bytes:
    key = digest_of(contents)
    store.put(BLOB, key, contents)
    return key


def packs(path: Path) -> list[Path]:
    return sorted((path / "packs").iterdir())


def test_what_is_on_disk_is_what_the_document_says(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    key = put(store, b"hello")
    store.close()
    assert sorted(os.listdir(tmp_path / "s")) == ["format", "index.lmdb", "index.lmdb-lock", "packs"]
    assert (tmp_path / "s" / "format").read_bytes() == b"tvix pack store 2\n"
    record = (tmp_path / "s" / "packs" / "00000000.pack").read_bytes()
    assert record[:HEADER_BYTES] == b"\x97TvP" + bytes([BLOB, 0, 32, 0]) + bytes(4) + (5).to_bytes(4, "little") + key
    assert record[HEADER_BYTES:-4] == b"hello"
    assert len(record) == 5 + OVERHEAD_BYTES


def test_everything_is_there_again_when_it_is_opened_again(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    blobs = PackBlobService(store)
    large = blobs.put(LARGE)
    PackDirectoryService(store).put(TREE)
    store.close()
    again = PackStore(tmp_path / "s")
    reader = PackBlobService(again).open(large)
    assert reader is not None
    assert bytes(reader.read_at(0, len(LARGE))) == LARGE
    assert len(list(PackDirectoryService(again).closure(TREE[-1].digest))) == 4


def test_nothing_is_visible_to_others_before_sync(tmp_path: Path) -> None:
    one, two = PackStore(tmp_path / "s"), PackStore(tmp_path / "s")
    key = put(one, b"x")
    assert one.get(BLOB, key) == b"x"
    assert two.get(BLOB, key) is None
    one.sync()
    assert two.get(BLOB, key) == b"x"


def test_writers_at_the_same_time_have_packs_of_their_own(tmp_path: Path) -> None:
    one, two = PackStore(tmp_path / "s"), PackStore(tmp_path / "s")
    keys = [put(one, b"one"), put(two, b"two"), put(one, b"both"), put(two, b"both")]
    one.sync()
    two.sync()
    assert len(packs(tmp_path / "s")) == 2
    assert [bytes(one.get(BLOB, key) or b"") for key in keys] == [b"one", b"two", b"both", b"both"]


def test_a_pack_with_room_is_written_on(tmp_path: Path) -> None:
    keys = []
    for number in range(5):
        store = PackStore(tmp_path / "s")
        keys.append(put(store, b"%d" % number))
        store.close()
    assert len(packs(tmp_path / "s")) == 1
    assert [PackStore(tmp_path / "s").get(BLOB, key) for key in keys] == [b"0", b"1", b"2", b"3", b"4"]


def test_packs_don_t_pass_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvix.castore.pack.writer, "PACK_BYTES_MAX", 10_000)
    store = PackStore(tmp_path / "s")
    contents = [random.Random(number).randbytes(3000) for number in range(20)]
    keys = [put(store, each) for each in contents]
    store.close()
    assert all(pack.stat().st_size <= 10_000 for pack in packs(tmp_path / "s"))
    assert len(packs(tmp_path / "s")) == 7
    assert store.get_many(BLOB, keys) == contents


def test_a_full_pack_is_nobody_elses_before_it_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvix.castore.pack.writer, "PACK_BYTES_MAX", 100_000)
    store, other = PackStore(tmp_path / "s"), PackStore(tmp_path / "s")
    staged: dict[bytes, tuple[int, int, int, int]] = {}
    payloads = {bytes([BLOB]) + digest_of(c): c for c in (random.Random(number).randbytes(30_000) for number in range(8))}
    store.stage(list(payloads.items()), staged)
    for number in range(10):
        put(other, bytes([number]) * 20_000)
    other.sync()
    store.publish(staged)
    store.sync()
    assert [other.get(BLOB, key[1:]) for key in payloads] == list(payloads.values())


def test_a_blob_that_is_given_up_takes_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvix.castore.pack.writer, "PACK_BYTES_MAX", 400_000)
    store = PackStore(tmp_path / "s")
    blobs = PackBlobService(store)
    kept = put(store, b"kept")
    store.sync()
    given_up, finished = blobs.writer(), blobs.writer()
    given_up.write(LARGE)
    finished.write(LARGE[::-1])
    store.sync()
    digest = finished.close()
    given_up.abort()
    store.close()
    assert sum(pack.stat().st_size for pack in packs(tmp_path / "s")) < 2 * len(LARGE)
    again = PackStore(tmp_path / "s")
    reader = PackBlobService(again).open(digest)
    assert reader is not None
    assert bytes(reader.read_at(0, len(LARGE))) == LARGE[::-1]
    assert again.get(BLOB, kept) == b"kept"
    assert rebuild_index(tmp_path / "s").damaged == []


def test_a_blob_that_is_given_up_last_takes_no_space_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvix.castore.pack.writer, "PACK_BYTES_MAX", 400_000)
    store = PackStore(tmp_path / "s")
    put(store, b"kept")
    store.sync()
    given_up = PackBlobService(store).writer()
    given_up.write(LARGE)
    store.sync()
    given_up.write(LARGE)
    given_up.abort()
    store.close()
    assert sum(pack.stat().st_size for pack in packs(tmp_path / "s")) == 4 + OVERHEAD_BYTES


def test_what_no_pack_can_hold_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvix.castore.pack.writer, "PACK_BYTES_MAX", 10_000)
    store = PackStore(tmp_path / "s")
    put(store, LARGE[:20_000])
    with pytest.raises(RecordTooLarge, match="20000"):
        store.sync()


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    PackStore(tmp_path / "s").close()
    (tmp_path / "s" / "format").write_bytes(b"tvix pack store 3\n")
    with pytest.raises(NewerFormat, match="version 3") as refused:
        PackStore(tmp_path / "s")
    assert str(tmp_path / "s") in str(refused.value)


@pytest.mark.parametrize("contents", [b"", b"tvix pack store\n", b"tvix pack store one\n", b"tvix pack store 0\n", b"\xff\xfe"])
def test_another_format_file_is_refused(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "format").write_bytes(contents)
    with pytest.raises(NotAPackStore):
        PackStore(tmp_path)


def test_a_directory_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(NotAPackStore, match="other things"):
        PackStore(tmp_path)
    assert os.listdir(tmp_path) == ["letter.txt"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(NotAPackStore, match="not a directory"):
        PackStore(tmp_path / "f")


def test_damage_is_found_when_a_record_is_read_whole(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    key = put(store, LARGE[:1000])
    store.close()
    pack = packs(tmp_path / "s")[0]
    damaged = bytearray(pack.read_bytes())
    damaged[HEADER_BYTES + 500] ^= 4
    pack.write_bytes(damaged)
    with pytest.raises(DamagedPack, match="checksum") as found:
        PackStore(tmp_path / "s").get(BLOB, key)
    assert str(pack) in str(found.value)


@pytest.mark.parametrize("left", [0, 10, HEADER_BYTES, HEADER_BYTES + 500])
def test_a_pack_that_lost_its_end_is_found_out(tmp_path: Path, left: int) -> None:
    store = PackStore(tmp_path / "s")
    key = put(store, LARGE[:1000])
    store.close()
    os.truncate(packs(tmp_path / "s")[0], left)
    with pytest.raises(DamagedPack):
        PackStore(tmp_path / "s").get(BLOB, key)


def test_a_pack_that_is_gone_is_looked_for_again_then_named(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    key = put(store, b"x")
    large = PackBlobService(store).put(LARGE)
    store.close()
    packs(tmp_path / "s")[0].unlink()
    again = PackStore(tmp_path / "s")
    with pytest.raises(DamagedPack, match="gone"):
        again.get(BLOB, key)
    with pytest.raises(DamagedPack):
        PackBlobService(again).open(large)


def test_an_open_reader_outlives_its_pack(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    large = PackBlobService(store).put(LARGE)
    store.sync()
    reader = PackBlobService(store).open(large)
    assert reader is not None
    reader.read_at(0, 10)
    packs(tmp_path / "s")[0].unlink()
    assert bytes(reader.read_at(0, len(LARGE))) == LARGE


def test_the_index_grows_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvix.castore.pack.index, "_MAP_BYTES", 1 << 16)
    store, other = PackStore(tmp_path / "s"), PackStore(tmp_path / "s")
    other.get(BLOB, bytes(32))
    keys = [put(store, b"%d" % number) for number in range(5000)]
    store.sync()
    assert store.missing(BLOB, keys) == set()
    more = [put(other, b"more %d" % number) for number in range(5000)]
    other.sync()
    assert store.missing(BLOB, more) == set()


def test_iterate_tells_of_one_kind_pending_or_not(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    store.put(PATH_INFO, b"k" * 20, b"path info")
    for number in range(3000):
        put(store, b"%d" % number)
    store.sync()
    put(store, b"pending")
    blobs = dict(store.iterate(BLOB))
    assert len(blobs) == 3001
    assert all(digest_of(contents) == key for key, contents in blobs.items())
    assert list(store.iterate(PATH_INFO)) == [(b"k" * 20, b"path info")]


def test_update_replaces_and_survives_a_rebuild(tmp_path: Path) -> None:
    store, other = PackStore(tmp_path / "s"), PackStore(tmp_path / "s")
    key = b"p" * 20
    seen = []
    for number, writer in enumerate((store, other, store, other)):
        writer.update(PATH_INFO, [key], lambda current, number=number: (seen.append(dict(current)), {key: b"%d" % number})[1])
    assert [current.get(key) for current in seen] == [None, b"0", b"1", b"2"]
    assert store.get(PATH_INFO, key) == b"3"
    store.close()
    other.close()
    rebuild_index(tmp_path / "s")
    assert PackStore(tmp_path / "s").get(PATH_INFO, key) == b"3"


def test_update_that_raises_changes_nothing(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    store.update(PATH_INFO, [b"p" * 20], lambda _current: {b"p" * 20: b"first"})

    def refuse(_current: dict[bytes, object]) -> dict[bytes, bytes]:
        raise KeyError("refused")

    with pytest.raises(KeyError):
        store.update(PATH_INFO, [b"p" * 20], refuse)
    assert store.get(PATH_INFO, b"p" * 20) == b"first"
    put(store, b"still usable")
    store.sync()


def test_a_rebuilt_index_says_the_same(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    keys = [put(store, b"%d" % number) for number in range(200)]
    large = PackBlobService(store).put(LARGE)
    PackDirectoryService(store).put(TREE)
    store.close()
    (tmp_path / "s" / "index.lmdb").write_bytes(b"this is no index")
    report = rebuild_index(tmp_path / "s")
    assert (report.packs, report.damaged, report.cut_bytes, report.incomplete) == (1, [], 0, 0)
    again = PackStore(tmp_path / "s")
    assert again.missing(BLOB, keys) == set()
    reader = PackBlobService(again).open(large)
    assert reader is not None
    assert bytes(reader.read_at(0, len(LARGE))) == LARGE
    assert len(list(PackDirectoryService(again).closure(TREE[-1].digest))) == 4


def test_an_index_that_is_gone_is_made_anew_without_being_asked(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    key = put(store, b"x")
    store.close()
    (tmp_path / "s" / "index.lmdb").unlink()
    assert PackStore(tmp_path / "s").get(BLOB, key) == b"x"


def test_a_rebuild_cuts_off_a_torn_tail(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    key, last = put(store, b"whole"), put(store, LARGE[:400])
    store.close()
    pack = packs(tmp_path / "s")[0]
    os.truncate(pack, pack.stat().st_size - 7)
    report = rebuild_index(tmp_path / "s")
    assert (report.records, report.cut_bytes, report.damaged) == (1, 400 + OVERHEAD_BYTES - 7, [])
    assert pack.stat().st_size == 5 + OVERHEAD_BYTES
    again = PackStore(tmp_path / "s")
    assert again.get(BLOB, key) == b"whole"
    assert again.get(BLOB, last) is None
    assert put(again, LARGE[:400]) == last
    again.close()
    assert PackStore(tmp_path / "s").get(BLOB, last) == LARGE[:400]


def test_a_rebuild_steps_over_damage_and_leaves_out_what_needs_it(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    PackDirectoryService(store).put([LEAF, MIDDLE])
    key = put(store, b"behind")
    store.sync()
    large = PackBlobService(store).put(LARGE)
    store.close()
    pack = packs(tmp_path / "s")[0]
    damaged = bytearray(pack.read_bytes())
    damaged[HEADER_BYTES + 3] ^= 1  # in LEAF, which MIDDLE needs
    damaged[-100_000] ^= 1  # in a chunk
    pack.write_bytes(damaged)
    report = rebuild_index(tmp_path / "s")
    assert (len(report.damaged), report.cut_bytes, report.incomplete) == (2, 0, 2)
    again = PackStore(tmp_path / "s")
    assert again.get(BLOB, key) == b"behind"
    assert again.missing(DIRECTORY, [LEAF.digest, MIDDLE.digest]) == {LEAF.digest, MIDDLE.digest}
    assert again.missing(CHUNK_LIST, [large]) == {large}


def test_a_rebuild_believes_no_name_that_the_contents_don_t_have(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    store.put(BLOB, digest_of(b"promised"), b"other")
    store.close()
    assert rebuild_index(tmp_path / "s").records == 0


def test_a_rebuild_wants_the_store_for_itself(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    put(store, b"x")
    store.sync()
    with pytest.raises(StoreBusy):
        rebuild_index(tmp_path / "s")
    store.close()
    assert rebuild_index(tmp_path / "s").records == 1


def test_a_forked_child_reads_and_writes_on_its_own(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    synced = put(store, b"synced")
    store.sync()
    pending = put(store, b"pending in the parent")
    child = os.fork()
    if child == 0:
        try:
            right = store.get(BLOB, synced) == b"synced" and store.get(BLOB, pending) is None
            put(store, b"from the child")
            store.close()
            os._exit(0 if right else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get(BLOB, digest_of(b"from the child")) == b"from the child"
    store.close()
    assert len(packs(tmp_path / "s")) == 2
    assert PackStore(tmp_path / "s").get(BLOB, pending) == b"pending in the parent"


def test_opening_a_store_opens_no_index(tmp_path: Path) -> None:
    PackStore(tmp_path / "s")
    assert not (tmp_path / "s" / "index.lmdb").exists()


def test_a_closed_store_opens_itself_again(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    key = put(store, b"x")
    store.close()
    store.close()
    assert store.get(BLOB, key) == b"x"
    put(store, b"y")
    store.close()
