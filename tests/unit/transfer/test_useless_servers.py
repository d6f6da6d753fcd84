"""Servers that say much and give nothing: whoever waits is let go, and the connection is given up."""

from __future__ import annotations

from tvix.castore.addresses import Castore
from tvix.castore.blobs.interface import Chunk, StoreUnavailable
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.chunking import CHUNKS_MAX, BlobTooLarge
from tvix.castore.digests import digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.transfer.large_blob import fits
from tvix.castore.transfer.messages import SIBLINGS
from tvix.castore.transfer.receiving import LIFE_BYTES
from tvix.castore.transfer.scheduler import PATIENCE, Scheduler

SMALL = b"a few bytes"


class Clock:
    """Seconds by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def scheduler_at(clock: Clock) -> Scheduler:
    near = Castore(MemoryBlobService(), MemoryDirectoryService())
    scheduler = Scheduler(near, "far", trusts_lists=True, clock=clock)
    scheduler.connected()
    return scheduler


def test_bytes_of_no_use_buy_a_few_deadlines() -> None:
    clock = Clock()
    scheduler = scheduler_at(clock)
    got: list[object] = []
    assert scheduler.read(digest_of(SMALL), len(SMALL), 0, 5, got.append) is None
    while not got:
        clock.now += 0.5
        scheduler.alive(LIFE_BYTES)
        assert clock.now >= PATIENCE or not scheduler.stands_still(0.0, 1.0)
        scheduler.expire(1.0)
        assert clock.now <= PATIENCE
    assert isinstance(got[0], StoreUnavailable)
    assert clock.now == PATIENCE
    assert scheduler.stands_still(0.0, 1.0)
    assert not scheduler.stands_still(clock.now, 1.0)


def test_a_file_beyond_all_sizes_is_an_error_and_not_prefetched() -> None:
    scheduler = scheduler_at(Clock())
    got: list[object] = []
    for size in ((1 << 64) - 1, (8 << 20) * CHUNKS_MAX + 1):
        try:
            scheduler.read(digest_of(SMALL), size, 0, 5, got.append)
        except BlobTooLarge as error:
            got.append(error)
        scheduler.prefetch([(digest_of(SMALL), size)], SIBLINGS)
    assert [type(error) for error in got] == [BlobTooLarge] * 2
    assert not scheduler.waiting()
    assert not scheduler.in_flight()


def test_a_list_with_two_sizes_of_one_chunk_is_none() -> None:
    chunk = digest_of(SMALL)
    assert fits([Chunk(chunk, 5), Chunk(chunk, 5)], 10)
    assert not fits([Chunk(chunk, 5), Chunk(chunk, 6)], 11)
