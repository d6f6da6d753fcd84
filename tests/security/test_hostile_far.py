"""A far store that lies or breaks off: no wrong byte is handed out, and nothing of it is near afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tvix.castore.blobs.contents import WrongBlobSize, open_file
from tvix.castore.blobs.interface import BlobService, Chunk, CorruptBlob, StoreUnavailable
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.blobs.near_far import PIECE_BYTES, NearFarBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.ingest.filesystem import ingest_tree
from tvix.castore.nodes import FileNode
from tvix.castore.pack.format import BLOB, CHUNK_LIST
from tvix.castore.pack.store import PackStore
from tvix.testing.faulty import FaultyBlobService

LARGE = random.Random(3).randbytes(3_000_000)
SMALL = b"a few bytes"


def swapped_chunks(contents: bytes) -> bytes:
    """The right pieces in the wrong order."""
    third = len(contents) // 3
    return contents[third : 2 * third] + contents[:third] + contents[2 * third :]


LIES: dict[str, Callable[[bytes], bytes]] = {
    "one bit": lambda blob: bytes((blob[0] ^ 1,)) + blob[1:],
    "last bit": lambda blob: blob[:-1] + bytes((blob[-1] ^ 128,)),
    "too short": lambda blob: blob[:-1],
    "too long": lambda blob: blob + b"\0",
    "empty": lambda _blob: b"",
    "another": lambda _blob: b"something else altogether",
    "pieces in the wrong order": swapped_chunks,
    "twice": lambda blob: blob + blob,
}


@pytest.fixture
def far() -> FaultyBlobService:
    return FaultyBlobService(MemoryBlobService())


@pytest.fixture(params=["memory", "bounded", "pack"])
def near(request: pytest.FixtureRequest, tmp_path: Path) -> BlobService:
    if request.param == "pack":
        return PackBlobService(PackStore(tmp_path / "near"))
    return MemoryBlobService(1_000_000 if request.param == "bounded" else None)


def read_whole(service: BlobService, digest: Digest) -> bytes:
    reader = service.open(digest)
    assert reader is not None
    return bytes(reader.read_at(0, reader.size))


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("contents", [SMALL, LARGE], ids=["small", "large"])
def test_other_bytes_are_refused(near: BlobService, far: FaultyBlobService, lie: str, contents: bytes) -> None:
    digest = far.inner.put(contents)
    far.mangle = LIES[lie]
    service = NearFarBlobService(near, far, "far:")
    reader = service.open(digest)
    assert reader is not None
    for offset in (0, 5):
        with pytest.raises(CorruptBlob, match="far:"):
            reader.read_at(offset, 10)
    with pytest.raises(CorruptBlob):
        _ = reader.size
    assert near.missing([digest, digest_of(LIES[lie](contents))]) == {digest, digest_of(LIES[lie](contents))}
    far.mangle = None
    assert read_whole(service, digest) == contents


@pytest.mark.parametrize("lie", LIES)
def test_other_bytes_in_bulk_are_refused(near: BlobService, far: FaultyBlobService, lie: str) -> None:
    digests = [far.inner.put(SMALL + bytes([number])) for number in range(5)]
    far.mangle = LIES[lie]
    with pytest.raises(CorruptBlob):
        list(NearFarBlobService(near, far, "far:").read_many(digests))
    assert near.missing(digests) == set(digests)


def test_right_blobs_under_wrong_names_are_refused(near: BlobService, far: FaultyBlobService) -> None:
    digests = [far.inner.put(SMALL + bytes([number])) for number in range(2)]
    far.swaps_answers = True
    with pytest.raises(CorruptBlob):
        list(NearFarBlobService(near, far, "far:").read_many(digests))


@pytest.mark.parametrize("said", [0, 1, len(LARGE) - 1, len(LARGE) + 1, 1 << 62])
def test_a_size_that_is_claimed_means_nothing(near: BlobService, far: FaultyBlobService, said: int) -> None:
    digest = far.inner.put(LARGE)
    far.said_size = said
    assert read_whole(NearFarBlobService(near, far, "far:"), digest) == LARGE


@pytest.mark.parametrize("reverse", [False, True])
def test_a_chunk_list_that_is_claimed_means_nothing(near: BlobService, far: FaultyBlobService, reverse: bool) -> None:
    digest = far.inner.put(LARGE)
    half = len(LARGE) // 2
    right = [Chunk(far.inner.put(piece), len(piece)) for piece in (LARGE[:half], LARGE[half:])]
    far.said_chunks = right[::-1] if reverse else [Chunk(digest_of(b"x"), 1)]
    service = NearFarBlobService(near, far, "far:")
    assert service.chunks(digest) in ([], ())
    assert read_whole(service, digest) == LARGE
    chunks = service.chunks(digest)
    assert chunks is not None
    assert list(chunks) != list(far.said_chunks)


def test_a_blob_that_is_claimed_is_not_believed(near: BlobService, far: FaultyBlobService) -> None:
    far.claims_everything = True
    reader = NearFarBlobService(near, far, "far:").open(digest_of(b"absent"))
    assert reader is not None
    with pytest.raises(CorruptBlob):
        reader.read_at(0, 1)


def test_ranges_fetched_again_are_held_to_our_own_list(far: FaultyBlobService) -> None:
    digest = far.inner.put(LARGE)
    service = NearFarBlobService(MemoryBlobService(300_000), far, "far:")
    assert read_whole(service, digest) == LARGE
    far.mangle = swapped_chunks
    reader = service.open(digest)
    assert reader is not None
    with pytest.raises(CorruptBlob):
        reader.read_at(1_500_000, 10)


@pytest.mark.parametrize("lie", LIES)
def test_no_lie_about_a_range_fetched_again_gets_through(far: FaultyBlobService, lie: str) -> None:
    digest = far.inner.put(LARGE)
    service = NearFarBlobService(MemoryBlobService(10), far, "far:")
    assert read_whole(service, digest) == LARGE
    far.mangle = LIES[lie]
    reader = service.open(digest)
    assert reader is not None
    for offset in range(0, len(LARGE), 500_000):
        try:
            assert bytes(reader.read_at(offset, 500_000)) == LARGE[offset : offset + 500_000]
        except CorruptBlob:
            continue


def test_what_is_dropped_near_comes_again_by_range(far: FaultyBlobService) -> None:
    digest = far.inner.put(LARGE)
    service = NearFarBlobService(MemoryBlobService(300_000), far, "far:")
    assert read_whole(service, digest) == LARGE
    far.calls.clear()
    reader = service.open(digest)
    assert reader is not None
    assert bytes(reader.read_at(2_000_000, 100)) == LARGE[2_000_000:2_000_100]
    assert bytes(reader.read_at(2_000_100, 100)) == LARGE[2_000_100:2_000_200]
    assert far.calls["read_at"] == 1


def test_a_far_end_that_is_away_leaves_near_readable(near: BlobService, far: FaultyBlobService) -> None:
    kept = near.put(SMALL)
    lost = far.inner.put(b"only far")
    far.down = True
    service = NearFarBlobService(near, far, "far:")
    assert read_whole(service, kept) == SMALL
    assert service.missing([kept]) == set()
    with pytest.raises(StoreUnavailable):
        service.open(lost)
    with pytest.raises(StoreUnavailable):
        service.missing([kept, lost])
    far.down = False
    assert read_whole(service, lost) == b"only far"


def test_a_fetch_that_breaks_off_leaves_nothing(near: BlobService, far: FaultyBlobService) -> None:
    digest = far.inner.put(LARGE)
    far.down_after_reads = 2
    service = NearFarBlobService(near, far, "far:")
    reader = service.open(digest)
    assert reader is not None
    with pytest.raises(StoreUnavailable):
        reader.read_at(0, 10)
    assert near.missing([digest]) == {digest}
    far.down_after_reads = None
    assert bytes(reader.read_at(0, 10)) == LARGE[:10]


def test_writing_asks_nothing_of_far(near: BlobService, far: FaultyBlobService, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(10):
        (tmp_path / "tree" / str(number)).write_bytes(LARGE[: number * 20_000])
    far.down = True
    service = NearFarBlobService(near, far, "far:")
    ingest_tree(tmp_path / "tree", service, MemoryDirectoryService())
    assert near.missing([digest_of(LARGE[: number * 20_000]) for number in range(1, 10)]) == set()
    assert not far.calls


def test_nothing_of_a_refused_blob_is_in_the_pack(tmp_path: Path, far: FaultyBlobService) -> None:
    store = PackStore(tmp_path / "near")
    digest = far.inner.put(LARGE)
    far.mangle = LIES["last bit"]
    reader = NearFarBlobService(PackBlobService(store), far, "far:").open(digest)
    assert reader is not None
    with pytest.raises(CorruptBlob):
        reader.read_at(0, 1)
    store.sync()
    assert list(store.iterate(BLOB)) == []
    assert list(store.iterate(CHUNK_LIST)) == []


def test_no_more_comes_than_a_directory_says(near: BlobService, far: FaultyBlobService) -> None:
    digest = far.inner.put(LARGE)
    far.mangle = lambda blob: blob * 3
    with pytest.raises(WrongBlobSize):
        open_file(NearFarBlobService(near, far, "far:"), FileNode(digest, len(LARGE), False))
    assert far.calls["read_at"] <= 2 + len(LARGE) // PIECE_BYTES + 1
    far.mangle = None
    assert open_file(NearFarBlobService(near, far, "far:"), FileNode(digest, len(LARGE), False)).size == len(LARGE)


def test_openers_at_the_same_time_share_one_fetch(near: BlobService, far: FaultyBlobService) -> None:
    digest = far.inner.put(SMALL)
    far.gate = Event()
    service = NearFarBlobService(near, far, "far:")
    with ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(read_whole, service, digest) for _ in range(8)]
        assert far.reached.wait(60)
        far.gate.set()
        assert {read.result() for read in reads} == {SMALL}
    assert far.calls["read_at"] == 1


def test_waiters_get_the_error_of_the_fetch_they_waited_for(near: BlobService, far: FaultyBlobService) -> None:
    digest = far.inner.put(SMALL)
    far.gate = Event()
    far.mangle = LIES["one bit"]
    service = NearFarBlobService(near, far, "far:")
    with ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(read_whole, service, digest) for _ in range(4)]
        far.gate.set()
        errors = [read.exception() for read in reads]
    assert all(isinstance(error, CorruptBlob) for error in errors)
