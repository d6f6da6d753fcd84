"""Cutting blobs: sizes, limits, independence of how the bytes arrive."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from tvix.castore import chunking
from tvix.castore.blobs.interface import Buffer, Chunk
from tvix.castore.chunk_list import ChunkMap, decode_chunks, encode_chunks
from tvix.castore.chunking import CHUNKS_MAX, BlobTooLarge, Chunker, chunks_per_level
from tvix.castore.digests import digest_of

NOISE = random.Random(1).randbytes(8 << 20)


def cut(data: bytes, step: int, average: int = 65536) -> list[bytes]:
    chunker = Chunker(average)
    chunks: list[Buffer] = []
    for offset in range(0, len(data), step):
        chunks += [bytes(chunk) for chunk in chunker.feed(data[offset : offset + step])]
    return [bytes(chunk) for chunk in (*chunks, *chunker.finish())]


def test_chunks_are_between_half_and_twice_the_average() -> None:
    data = NOISE[: 3 << 20]
    chunks = cut(data, 1 << 20)
    assert b"".join(chunks) == data
    assert all(32768 <= len(chunk) <= 131072 for chunk in chunks[:-1])
    assert 24 < len(chunks) < 64


@pytest.mark.parametrize("step", [1000, 65536, 131_071, 1_000_003, 8 << 20])
def test_how_the_bytes_arrive_makes_no_difference(step: int) -> None:
    assert cut(NOISE, step) == cut(NOISE, 1 << 20)


def test_an_insertion_changes_few_chunks() -> None:
    changed = NOISE[:3_000_000] + b"inserted" + NOISE[3_000_000:]
    before, after = set(cut(NOISE, 1 << 20)), set(cut(changed, 1 << 20))
    assert len(after - before) <= 3


def test_the_average_grows_with_the_number_of_chunks() -> None:
    """With the smallest average 24 MB pass four levels and end in the fifth."""
    data = random.Random(2).randbytes(24 << 20)
    chunks = cut(data, 1 << 20, 1024)
    assert b"".join(chunks) == data
    start = 0
    for level, count in enumerate((64, 512, 1024, 1024)):
        sizes = list(map(len, chunks[start : start + count]))
        assert 512 << level <= min(sizes)
        assert max(sizes) <= 2048 << level
        assert 0.8 < sum(sizes) / count / (1024 << level) < 1.3
        start += count
    assert start < len(chunks)


def test_the_smallest_chunks_make_any_blob_of_36_gib_fit() -> None:
    for average in (chunking.AVERAGE_BYTES, 64 << 10, 1 << 20, chunking.AVERAGE_BYTES_MAX):
        counts = chunks_per_level(average)
        assert sum(counts) == 12_288
        assert average << len(counts) - 1 == chunking.AVERAGE_BYTES_MAX
        least = sum(count * (average << level) // 2 for level, count in enumerate(counts))
        assert least + (CHUNKS_MAX - 12_288) * (8 << 20) >= 36 << 30


def test_small_chunks_at_the_beginning_cost_large_blobs_none() -> None:
    """A blob of a gigabyte has about as many as if all of them had begun at 64 KiB."""
    size, chunks = 1 << 30, 0.0
    for level, count in enumerate(chunks_per_level(chunking.AVERAGE_BYTES)):
        here = min(count, size / (chunking.AVERAGE_BYTES << level))
        size -= int(here * (chunking.AVERAGE_BYTES << level))
        chunks += here
    assert size == 0
    assert 5000 < chunks < 7000


def test_a_list_never_passes_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "AVERAGE_BYTES_MAX", 1024)
    monkeypatch.setattr(chunking, "_JOINED_BYTES", 4096)
    chunker = Chunker(1024)
    data = bytes(range(256)) * 4096
    chunks: list[Buffer] = []

    def feed_for_ever() -> None:
        while True:
            chunks.extend(chunker.feed(data))

    with pytest.raises(BlobTooLarge, match="16384"):
        feed_for_ever()
    assert len(chunks) <= CHUNKS_MAX
    assert min(map(len, chunks[12_288:])) >= 4096


def test_zeros_are_chunks_too() -> None:
    zeros = bytes(5_000_000)
    chunks = cut(zeros, 1 << 20)
    assert b"".join(chunks) == zeros
    assert all(len(chunk) <= 131072 for chunk in chunks)


@pytest.mark.parametrize("average", [0, 1000, 512, 3000, 4 << 20])
def test_other_averages_are_refused(average: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Chunker(average)


def test_the_slow_fallback_is_an_error() -> None:
    """As in a frozen tree that lacks a part of pyfastcdc."""
    program = """
import sys
sys.modules["pyfastcdc.cy.fastcdc"] = None
import warnings
warnings.simplefilter("ignore")
from tvix.castore.chunking import Chunker, ChunkingUnavailable
try:
    Chunker()
except ChunkingUnavailable:
    sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 7


def test_lists_are_encoded_and_decoded() -> None:
    chunks = [Chunk(digest_of(bytes([number])), number * 1000) for number in range(1, 20)]
    assert decode_chunks(encode_chunks(chunks)) == chunks


def test_a_map_finds_the_pieces_of_any_range() -> None:
    sizes = [5, 1, 7, 3]
    chunks = [Chunk(digest_of(bytes([number])), size) for number, size in enumerate(sizes)]
    owner = [(number, offset) for number, size in enumerate(sizes) for offset in range(size)]
    for start in range(18):
        for length in range(20):
            pieces = ChunkMap(chunks).pieces(start, length)
            assert [(n, o + i) for n, o, size in pieces for i in range(size)] == owner[start : start + length]
