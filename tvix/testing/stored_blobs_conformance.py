"""What a blob service that gives and takes blobs as they lie is held to, besides everything else.

A back end's test module says `from tvix.testing.stored_blobs_conformance import *` and gives the fixture `service`: an empty store.
"""

from __future__ import annotations

from typing import Protocol

import zstandard

from tvix.castore.blobs.interface import BlobService, StoredBlob, StoredBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.testing.blobs_conformance import ABSENT, contents, noise

TEXT = b"All work and no play makes Jack a dull boy.\n" * 200


class Service(BlobService, StoredBlobService, Protocol):
    """Both."""


def frame_of(blob: bytes) -> bytes:
    """Its zstd frame, as no store here would make it."""
    return zstandard.ZstdCompressor(level=7, write_checksum=True).compress(blob)


def raw(stored: StoredBlob | None) -> bytes | None:
    """The contents of a stored blob."""
    if stored is None:
        return None
    if len(stored.contents) < stored.size:
        return zstandard.ZstdDecompressor().decompress(stored.contents)
    return bytes(stored.contents)


def test_it_says_that_it_does(service: Service) -> None:
    assert isinstance(service, StoredBlobService)


def test_what_is_read_as_it_lies_is_the_blob(service: Service) -> None:
    blobs = [b"", b"short", TEXT, noise(5000), noise(20_000) + TEXT[:10_000]]
    digests = [service.put(blob) for blob in blobs]
    found = service.read_stored([*digests, ABSENT])
    assert [raw(stored) for stored in found] == [*blobs, None]
    assert [stored and stored.size for stored in found] == [*map(len, blobs), None]


def test_it_is_still_so_after_sync(service: Service) -> None:
    digest = service.put(TEXT)
    service.sync()
    assert raw(service.read_stored([digest])[0]) == TEXT


def test_a_large_blob_does_not_lie_in_one_piece(service: Service) -> None:
    digest = service.put(noise(1_000_000))
    stored = service.read_stored([digest])[0]
    assert stored is None or raw(stored) == noise(1_000_000)
    chunks = service.chunks(digest)
    assert chunks is not None
    pieces = [raw(piece) for piece in service.read_stored([chunk.digest for chunk in chunks])]
    assert b"".join(piece or b"" for piece in pieces) == (noise(1_000_000) if chunks else b"")


def test_reading_ends_where_a_bound_is_reached(service: Service) -> None:
    digests = [service.put(noise(1000, seed)) for seed in range(10)]
    assert len(service.read_stored(digests, 2500)) == 3
    assert len(service.read_stored(digests, 1)) == 1
    assert len(service.read_stored(digests, 10_000)) == 10
    assert len(service.read_stored(digests, 1 << 30)) == 10
    assert service.read_stored([ABSENT, *digests], 1)[0] is None


def test_reading_nothing_is_nothing(service: Service) -> None:
    assert service.read_stored([]) == []


def test_a_frame_is_kept_as_it_came(service: Service) -> None:
    digest = digest_of(TEXT)
    frame = frame_of(TEXT)
    service.put_stored([(digest, StoredBlob(len(TEXT), frame))])
    for _ in range(2):
        stored = service.read_stored([digest])[0]
        assert stored is not None
        assert (stored.size, bytes(stored.contents)) == (len(TEXT), frame)
        service.sync()


def test_a_frame_reads_as_what_is_in_it(service: Service) -> None:
    digest = digest_of(TEXT)
    service.put_stored([(digest, StoredBlob(len(TEXT), memoryview(frame_of(TEXT))))])
    for _ in range(2):
        assert service.missing([digest]) == set()
        assert contents(service, digest, step=1000) == TEXT
        assert [bytes(blob or b"") for _digest, blob in service.read_many([digest])] == [TEXT]
        assert service.chunks(digest) == ()
        service.sync()


def test_contents_may_be_given_as_they_are(service: Service) -> None:
    small, text = noise(3000), TEXT
    service.put_stored((digest_of(blob), StoredBlob(len(blob), blob)) for blob in (small, text, b""))
    assert contents(service, digest_of(small)) == small
    assert contents(service, digest_of(text)) == text
    assert contents(service, digest_of(b"")) == b""


def test_giving_it_again_changes_nothing(service: Service) -> None:
    digest = service.put(TEXT)
    service.sync()
    before = service.read_stored([digest])
    service.put_stored([(digest, StoredBlob(len(TEXT), frame_of(TEXT)))])
    service.put_stored([(digest, StoredBlob(len(TEXT), TEXT))])
    service.sync()
    assert [raw(stored) for stored in service.read_stored([digest])] == [raw(stored) for stored in before] == [TEXT]
    assert contents(service, digest) == TEXT


def test_hundreds_of_frames(service: Service) -> None:
    texts = {digest_of(TEXT + b"%d" % number): TEXT + b"%d" % number for number in range(1500)}
    service.put_stored((digest, StoredBlob(len(text), frame_of(text))) for digest, text in texts.items())
    service.sync()
    assert {Digest(digest): bytes(blob or b"") for digest, blob in service.read_many(texts)} == texts
