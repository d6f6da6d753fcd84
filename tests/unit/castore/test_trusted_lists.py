"""Large blobs read by a far end's list of chunks: what is fetched, what is kept, and what a list that lies comes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tvix.castore.blobs.interface import BlobReader, BlobService, Buffer, Chunk, CorruptBlob
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.blobs.near_far import NearFarBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.chunk_list import WrongChunkList
from tvix.castore.digests import Digest, digest_of
from tvix.castore.pack.store import PackStore
from tvix.testing.blobs_conformance import noise

LARGE = noise(3 << 20)
OTHER = noise(3 << 20, 2)


class Far:
    """A pack that counts what is read of it, and says of blobs what it is told to."""

    def __init__(self, inner: PackBlobService) -> None:
        self.inner = inner
        self.read: list[Digest] = []
        self.lies: dict[Digest, Sequence[Chunk]] = {}
        self.dead = False

    def open(self, digest: Digest) -> BlobReader | None:
        return self.inner.open(digest)

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        return self.lies.get(digest) or self.inner.chunks(digest)

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        listed = list(digests)
        assert not self.dead
        self.read += listed
        return self.inner.read_many(listed)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    service = PackBlobService(PackStore(f"{tmp_path}/far"))
    for contents in (LARGE, OTHER):
        writer = service.writer()
        writer.write(contents)
        writer.close()
    yield Far(service)
    service.close()


@pytest.fixture(params=["pack", "memory", "small memory"])
def near(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobService]:
    if request.param != "pack":
        yield MemoryBlobService() if request.param == "memory" else MemoryBlobService(1 << 20)
        return
    service = PackBlobService(PackStore(f"{tmp_path}/near"))
    yield service
    service.close()


def reader_of(near: BlobService, far: Far) -> BlobReader:
    reader = NearFarBlobService(near, far, "far:", trusts_lists=True).open(digest_of(LARGE))  # type: ignore[arg-type]
    assert reader is not None
    return reader


def test_a_range_costs_the_chunks_that_hold_it(near: BlobService, far: Far) -> None:
    reader = reader_of(near, far)
    assert bytes(reader.read_at(1_000_000, 10)) == LARGE[1_000_000:1_000_010]
    assert len(far.read) == 1
    assert reader.size == len(LARGE)


def test_what_has_come_is_near_in_whatever_order_it_came(tmp_path: Path, far: Far) -> None:
    near = PackBlobService(PackStore(f"{tmp_path}/near"))
    service = NearFarBlobService(near, far, "far:", trusts_lists=True)  # type: ignore[arg-type]
    offsets = list(range(0, len(LARGE), 50_000))
    for offset in offsets[::-2] + offsets[-2::-2]:
        reader = service.open(digest_of(LARGE))
        assert reader is not None
        assert bytes(reader.read_at(offset, 50_000)) == LARGE[offset : offset + 50_000]
    assert len(far.read) == len(set(far.read)) == len(far.inner.chunks(digest_of(LARGE)) or ())
    whole = near.open(digest_of(LARGE))
    assert whole is not None
    assert bytes(whole.read_at(0, len(LARGE))) == LARGE
    near.close()


def test_what_is_near_is_read_while_far_is_dead(tmp_path: Path, far: Far) -> None:
    near = PackBlobService(PackStore(f"{tmp_path}/near"))
    reader = reader_of(near, far)
    reader.read_at(0, 300_000)
    far.dead = True
    assert bytes(reader.read_at(0, 250_000)) == LARGE[:250_000]
    with pytest.raises(AssertionError):
        reader.read_at(2_000_000, 1)
    near.close()


@pytest.mark.parametrize("order", [1, -1])
def test_a_list_of_another_blob_is_noticed_when_it_is_complete(near: BlobService, far: Far, order: int) -> None:
    far.lies[digest_of(LARGE)] = far.inner.chunks(digest_of(OTHER)) or ()
    reader = reader_of(near, far)
    handed = bytearray(len(OTHER))

    def read_all() -> None:
        for offset in list(range(0, len(OTHER), 100_000))[::order]:
            handed[offset : offset + 100_000] = reader.read_at(offset, 100_000)

    if isinstance(near, MemoryBlobService) and near.forgets and order < 0:
        read_all()  # nothing is kept, so it takes another pass to know
        order = 1
    with pytest.raises(WrongChunkList):
        read_all()
    assert near.open(digest_of(LARGE)) is None


def test_a_chunk_that_isnt_what_the_list_says_is_refused(near: BlobService, far: Far) -> None:
    true = list(far.inner.chunks(digest_of(LARGE)) or ())
    far.lies[digest_of(LARGE)] = [true[0]._replace(size=true[0].size + 1), *true[1:]]
    with pytest.raises(CorruptBlob):
        reader_of(near, far).read_at(0, 10)


@pytest.mark.parametrize("sizes", [[0, 5], [1 << 30, 1], [5]])
def test_an_implausible_list_is_not_believed(near: BlobService, far: Far, sizes: list[int]) -> None:
    far.lies[digest_of(LARGE)] = [Chunk(digest_of(b"x"), size) for size in sizes]
    assert bytes(reader_of(near, far).read_at(0, len(LARGE))) == LARGE


def test_lists_that_arent_trusted_cost_the_whole_blob(tmp_path: Path, far: Far) -> None:
    near = PackBlobService(PackStore(f"{tmp_path}/near"))
    far.lies[digest_of(LARGE)] = far.inner.chunks(digest_of(OTHER)) or ()
    reader = NearFarBlobService(near, far, "far:").open(digest_of(LARGE))  # type: ignore[arg-type]
    assert reader is not None
    assert bytes(reader.read_at(1_000_000, 10)) == LARGE[1_000_000:1_000_010]
    assert near.missing([digest_of(LARGE)]) == set()
    near.close()
