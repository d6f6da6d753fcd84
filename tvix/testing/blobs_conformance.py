"""What every blob service is held to.

A back end's test module says `from tvix.testing.blobs_conformance import *` and gives the fixture `service`: an empty store that
also takes writes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tvix.castore.blobs.interface import BlobService
from tvix.castore.digests import Digest, digest_of, parse_digest

ABSENT = digest_of(b"never stored")
HELLO = parse_digest("5ca7815adcb484e9a136c11efe69c1d530176d549b5d18d038eb5280b4b3470c")
EMPTY = parse_digest("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that don't compress and are the same each time."""
    return random.Random(seed).randbytes(size)  # noqa: S311


def written(service: BlobService, *pieces: bytes) -> Digest:
    """A blob stored through a writer."""
    writer = service.writer()
    for piece in pieces:
        writer.write(piece)
    return writer.close()


def contents(service: BlobService, digest: Digest, step: int = 1 << 20) -> bytes:
    """A whole blob, read in pieces."""
    reader = service.open(digest)
    assert reader is not None
    try:
        return b"".join(bytes(reader.read_at(offset, step)) for offset in range(0, reader.size, step))
    finally:
        reader.close()


def test_a_stored_blob_reads_back(service: BlobService) -> None:
    reader = service.open(service.put(b"hello"))
    assert reader is not None
    assert (reader.size, bytes(reader.read_at(1, 3)), bytes(reader.read_at(4, 100))) == (5, b"ell", b"o")


def test_its_name_is_its_blake3(service: BlobService) -> None:
    assert service.put(b"Hello World!") == HELLO
    assert written(service, b"Hello World!") == HELLO


def test_an_unknown_blob_is_none_not_an_error(service: BlobService) -> None:
    assert service.open(ABSENT) is None


def test_an_unknown_blob_has_no_chunks_not_even_none(service: BlobService) -> None:
    assert service.chunks(ABSENT) is None


def test_missing_answers_for_many_at_once(service: BlobService) -> None:
    here = [service.put(noise(100, seed)) for seed in range(300)]
    assert service.missing([*here, ABSENT]) == {ABSENT}


def test_missing_of_nothing_is_nothing(service: BlobService) -> None:
    assert service.missing([]) == set()


def test_missing_tells_of_large_blobs(service: BlobService) -> None:
    assert service.missing([written(service, noise(1 << 20))]) == set()


def test_the_empty_blob_is_a_blob_like_any_other(service: BlobService) -> None:
    assert service.missing([EMPTY]) == {EMPTY}
    assert service.put(b"") == EMPTY
    assert service.missing([EMPTY]) == set()
    reader = service.open(EMPTY)
    assert reader is not None
    assert (reader.size, bytes(reader.read_at(0, 10))) == (0, b"")


def test_a_writer_that_gets_nothing_makes_the_empty_blob(service: BlobService) -> None:
    assert written(service) == EMPTY
    assert contents(service, EMPTY) == b""


def test_nothing_is_visible_before_close(service: BlobService) -> None:
    writer = service.writer()
    writer.write(b"half")
    assert service.open(digest_of(b"half")) is None
    assert service.missing([digest_of(b"half")]) == {digest_of(b"half")}
    writer.abort()


def test_nothing_of_a_large_blob_is_visible_before_close(service: BlobService) -> None:
    writer = service.writer()
    data = noise(3 << 20)
    writer.write(data)
    assert service.open(digest_of(data)) is None
    assert writer.close() == digest_of(data)
    assert contents(service, digest_of(data)) == data


def test_closing_again_says_the_same_name(service: BlobService) -> None:
    writer = service.writer()
    writer.write(b"once")
    assert writer.close() == writer.close() == digest_of(b"once")


def test_an_aborted_blob_is_not_there(service: BlobService) -> None:
    writer = service.writer()
    writer.write(b"never finished")
    writer.abort()
    assert service.open(digest_of(b"never finished")) is None


def test_an_aborted_large_blob_is_not_there(service: BlobService) -> None:
    writer = service.writer()
    data = noise(2 << 20)
    writer.write(data)
    writer.abort()
    assert service.open(digest_of(data)) is None


def test_abort_is_harmless_after_close_and_twice(service: BlobService) -> None:
    writer = service.writer()
    writer.write(b"kept")
    digest = writer.close()
    writer.abort()
    writer.abort()
    assert contents(service, digest) == b"kept"


def test_a_closed_writer_takes_nothing_more(service: BlobService) -> None:
    writer = service.writer()
    writer.write(b"done")
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")


def test_an_aborted_writer_has_no_name_to_say(service: BlobService) -> None:
    writer = service.writer()
    writer.abort()
    with pytest.raises(ValueError, match="aborted"):
        writer.close()


@pytest.mark.parametrize("size", [1, 31, 4096, 65_535, 65_536, 131_072, 131_073, 300_000, 1 << 20, (1 << 20) + 1])
def test_how_it_is_written_makes_no_difference(service: BlobService, size: int) -> None:
    data = noise(size)
    cut = size // 3
    assert service.put(data) == digest_of(data)
    assert written(service, data[:cut], b"", data[cut:]) == digest_of(data)
    assert contents(service, digest_of(data)) == data


def test_storing_twice_is_storing_once(service: BlobService) -> None:
    assert service.put(b"twice") == service.put(b"twice") == written(service, b"twice")
    assert contents(service, digest_of(b"twice")) == b"twice"


def test_reading_ends_where_the_blob_does(service: BlobService) -> None:
    reader = service.open(service.put(b"0123456789"))
    assert reader is not None
    assert bytes(reader.read_at(8, 5)) == b"89"
    assert bytes(reader.read_at(10, 5)) == b""
    assert bytes(reader.read_at(11, 5)) == b""
    assert bytes(reader.read_at(1 << 40, 5)) == b""
    assert bytes(reader.read_at(3, 0)) == b""


def test_any_range_of_a_large_blob_can_be_read(service: BlobService) -> None:
    data = noise(5_000_000)
    reader = service.open(service.put(data))
    assert reader is not None
    assert reader.size == len(data)
    chance = random.Random(7)  # noqa: S311
    for _ in range(60):
        offset = chance.randrange(len(data))
        length = chance.choice([1, 100, 4096, 131_072, 1 << 20, len(data)])
        assert bytes(reader.read_at(offset, length)) == data[offset : offset + length]
    assert bytes(reader.read_at(len(data), 10)) == b""


def test_chunks_make_up_the_blob(service: BlobService) -> None:
    data = noise(3_000_000)
    digest = service.put(data)
    chunks = service.chunks(digest)
    assert chunks is not None
    offset = 0
    for chunk in chunks:
        piece = data[offset : offset + chunk.size]
        assert chunk.digest == digest_of(piece)
        assert contents(service, chunk.digest) == piece
        offset += chunk.size
    assert offset == (len(data) if chunks else 0)


def test_a_small_blob_is_one_piece(service: BlobService) -> None:
    chunks = service.chunks(service.put(b"small"))
    assert chunks is not None
    assert len(chunks) == 0


def test_read_many_answers_in_the_order_asked(service: BlobService) -> None:
    first, second = service.put(b"first"), service.put(b"second")
    asked = [second, ABSENT, first, second]
    found = [(digest, None if blob is None else bytes(blob)) for digest, blob in service.read_many(asked)]
    assert found == [(second, b"second"), (ABSENT, None), (first, b"first"), (second, b"second")]


def test_read_many_gives_large_blobs_whole(service: BlobService) -> None:
    small, large = noise(10), noise(2_000_000)
    found = [bytes(blob or b"") for _digest, blob in service.read_many([service.put(small), service.put(large)])]
    assert found == [small, large]


def test_read_many_takes_hundreds_from_an_iterator(service: BlobService) -> None:
    digests = [service.put(noise(50, seed)) for seed in range(700)]
    found = {digest: bytes(blob or b"") for digest, blob in service.read_many(iter(digests))}
    assert found == {digest: noise(50, seed) for seed, digest in enumerate(digests)}


def test_read_many_of_nothing_is_nothing(service: BlobService) -> None:
    assert list(service.read_many([])) == []


def test_a_reader_is_closed_harmlessly_twice(service: BlobService) -> None:
    reader = service.open(service.put(b"x"))
    assert reader is not None
    reader.close()
    reader.close()


def test_readers_of_one_blob_are_independent(service: BlobService) -> None:
    digest = service.put(b"shared")
    one, two = service.open(digest), service.open(digest)
    assert one is not None
    assert two is not None
    one.close()
    assert bytes(two.read_at(0, 6)) == b"shared"


def test_what_the_caller_gave_is_his_again(service: BlobService) -> None:
    buffer = bytearray(noise(400_000))
    original = bytes(buffer)
    writer = service.writer()
    writer.write(buffer)
    buffer[:] = bytes(len(buffer))
    assert writer.close() == digest_of(original)
    small = bytearray(b"small")
    digest = service.put(memoryview(small))
    small[:] = b"other"
    assert contents(service, digest) == b"small"
    assert contents(service, digest_of(original)) == original


def test_writers_don_t_mix(service: BlobService) -> None:
    one, two = service.writer(), service.writer()
    parts = [noise(100_000, seed) for seed in range(6)]
    for index, part in enumerate(parts):
        (one, two)[index % 2].write(part)
    assert contents(service, one.close()) == b"".join(parts[0::2])
    assert contents(service, two.close()) == b"".join(parts[1::2])


def test_everything_is_still_there_after_sync(service: BlobService) -> None:
    small, large = service.put(b"durable"), service.put(noise(700_000))
    service.sync()
    service.sync()
    assert contents(service, small) == b"durable"
    assert contents(service, large) == noise(700_000)


def test_a_blob_can_be_stored_again_after_sync(service: BlobService) -> None:
    service.put(noise(700_000))
    service.sync()
    assert contents(service, service.put(noise(700_000))) == noise(700_000)


def test_threads_may_share_a_service(service: BlobService) -> None:
    def work(seed: int) -> Iterator[bool]:
        for number in range(10):
            data = noise(1000 if number else 400_000, seed * 5 + number)  # overlapping on purpose
            yield contents(service, service.put(data)) == data

    with ThreadPoolExecutor(8) as pool:
        assert all(all(results) for results in pool.map(lambda seed: list(work(seed)), range(16)))


def test_threads_may_share_a_reader(service: BlobService) -> None:
    data = noise(2_000_000)
    reader = service.open(service.put(data))
    assert reader is not None

    def read(seed: int) -> bool:
        offset = random.Random(seed).randrange(len(data))  # noqa: S311
        return bytes(reader.read_at(offset, 150_000)) == data[offset : offset + 150_000]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(100)))
