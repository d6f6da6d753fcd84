"""Blobs compressed at rest: what is, what isn't, what is on disk, and stores from before."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from tvix.castore.addresses import open_castore, parse_address
from tvix.castore.blobs.interface import Buffer, StoredBlob
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.compression import TRIED_BYTES_MIN, Recent, decompress
from tvix.castore.digests import Digest, digest_of
from tvix.castore.pack import format as pack_format
from tvix.castore.pack import place
from tvix.castore.pack.format import BLOB, DIRECTORY, HEADER_BYTES, OVERHEAD_BYTES, DamagedPack
from tvix.castore.pack.rebuild import rebuild_index
from tvix.castore.pack.store import PackStore

TEXT = b"It was a dark and stormy night; the rain fell in torrents. " * 100
NOISE = random.Random(3).randbytes(3_000_000)
MIXED = b"".join(NOISE[n * 300_000 : (n + 1) * 300_000] + TEXT * 40 for n in range(10))


def pack_of(path: Path) -> bytes:
    return (path / "packs" / "00000000.pack").read_bytes()


def test_a_compressed_record_is_what_the_document_says(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    digest = PackBlobService(store).put(TEXT)
    store.close()
    record = pack_of(tmp_path / "s")
    frame = record[HEADER_BYTES:-4]
    sizes = len(TEXT).to_bytes(4, "little") + len(frame).to_bytes(4, "little")
    assert record[:HEADER_BYTES] == b"\x97TvP" + bytes([BLOB, 1, 32, 0]) + sizes + digest
    assert zstandard.ZstdDecompressor().decompress(frame) == TEXT
    assert zstandard.frame_content_size(frame) == len(TEXT)


@pytest.mark.parametrize("blob", [NOISE[:10_000], TEXT[: TRIED_BYTES_MIN - 1], b""], ids=["noise", "tiny", "empty"])
def test_what_saves_too_little_lies_as_it_is(tmp_path: Path, blob: bytes) -> None:
    store = PackStore(tmp_path / "s")
    PackBlobService(store).put(blob)
    store.close()
    assert pack_of(tmp_path / "s")[HEADER_BYTES:-4] == blob
    assert pack_of(tmp_path / "s")[5] == 0


def test_a_saving_of_an_eighth_is_what_counts(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    blobs = PackBlobService(store)
    little, enough = (NOISE[:10_000] + bytes(zeros) for zeros in (1000, 2000))
    digests = [blobs.put(little), blobs.put(enough)]
    blobs.sync()
    found = [stored and len(stored.contents) < stored.size for stored in blobs.read_stored(digests)]
    assert found == [False, True]


def test_other_kinds_are_not_compressed(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    store.put(DIRECTORY, digest_of(TEXT), TEXT)
    store.close()
    assert len(pack_of(tmp_path / "s")) == len(TEXT) + OVERHEAD_BYTES


def test_the_level_is_the_addresses(tmp_path: Path) -> None:
    sizes = []
    for level in (0, 1, 19):
        castore = open_castore(parse_address(f"pack:{tmp_path}/{level}?zstd={level}"))
        castore.blobs.put(MIXED)
        castore.close()
        sizes.append(len(pack_of(tmp_path / str(level))))
    assert sizes[0] > 0.9 * len(MIXED)  # equal chunks lie there once
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("step", [1000, 65_536, 131_072, 1 << 20, 10 << 20])
def test_ranges_over_chunks_compressed_and_not(tmp_path: Path, step: int) -> None:
    store = PackStore(tmp_path / "s")
    blobs = PackBlobService(store)
    digest = blobs.put(MIXED)
    chunks = blobs.chunks(digest) or ()
    stored = blobs.read_stored([chunk.digest for chunk in chunks])
    assert len({each is not None and len(each.contents) < each.size for each in stored}) == 2, "both sorts"
    reader = blobs.open(digest)
    assert reader is not None
    assert reader.size == len(MIXED)
    assert b"".join(bytes(reader.read_at(offset, step)) for offset in range(0, len(MIXED), step)) == MIXED
    chance = random.Random(step)
    for _ in range(50):
        offset = chance.randrange(len(MIXED))
        assert bytes(reader.read_at(offset, step)) == MIXED[offset : offset + step]


def test_a_chunk_that_is_read_in_pieces_is_decompressed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PackStore(tmp_path / "s")
    blobs = PackBlobService(store)
    digest = blobs.put(TEXT)
    store.sync()
    made: list[int] = []

    def counted(frame: Buffer, size: int) -> bytes:
        made.append(size)
        return decompress(frame, size)

    monkeypatch.setattr("tvix.castore.pack.store.decompress", counted)
    reader = blobs.open(digest)
    assert reader is not None
    for offset in range(0, len(TEXT), 100):
        assert bytes(reader.read_at(offset, 100)) == TEXT[offset : offset + 100]
    assert made == [len(TEXT)]


def test_what_was_decompressed_last_is_remembered_up_to_a_bound() -> None:
    recent = Recent(100)
    for number in range(5):
        recent.keep(b"%d" % number, bytes(30))
    assert [recent.get(b"%d" % number) is not None for number in range(5)] == [False, False, True, True, True]
    recent.keep(b"large", bytes(1000))
    assert recent.get(b"4") is None
    assert recent.get(b"large") == bytes(1000)


def test_memory_counts_what_it_keeps() -> None:
    texts = [TEXT + b"%d" % number for number in range(100)]
    frames = [zstandard.compress(text) for text in texts]
    memory = MemoryBlobService(sum(map(len, frames[50:])))
    memory.put_stored((digest_of(text), StoredBlob(len(text), frame)) for text, frame in zip(texts, frames, strict=True))
    here = [not memory.missing([digest_of(text)]) for text in texts]
    assert here.count(True) in (49, 50, 51)
    assert all(here[51:])
    assert [bytes(blob or b"") for _digest, blob in memory.read_many([digest_of(texts[99])])] == [texts[99]]


@pytest.mark.parametrize(("frame", "size"), [(zstandard.compress(TEXT), len(TEXT) - 1), (b"no frame", 100), (b"", 0)])
def test_a_frame_that_isn_t_what_is_said_is_refused(frame: bytes, size: int) -> None:
    with pytest.raises(ValueError, match=r"frame|content size|decompress"):
        decompress(frame, size)


def test_no_room_is_made_for_a_frame_that_is_too_large() -> None:
    frame = zstandard.compress(bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(ValueError, match="67108864 bytes instead of 100"):
        decompress(frame, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_memory_forgets_that_what_it_dropped_was_compressed() -> None:
    memory = MemoryBlobService(300)
    memory.put_stored([(digest_of(TEXT[:590]), StoredBlob(590, zstandard.compress(TEXT[:590])))])
    memory.put(NOISE[:290])
    assert memory.missing([digest_of(TEXT[:590])])
    memory.put(NOISE[:10])
    large = MemoryBlobService(300)
    large.put_stored([(digest_of(TEXT[:290]), StoredBlob(290, zstandard.compress(TEXT[:290])))])
    large.put(NOISE[:299])
    large.put(TEXT[:290])
    assert [bytes(blob or b"") for _digest, blob in large.read_many([digest_of(TEXT[:290])])] == [TEXT[:290]]


def test_a_frame_that_holds_something_else_is_damage(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    digest = digest_of(TEXT)
    store.put_frames([(digest, b"no frame at all", len(TEXT))])
    store.sync()
    with pytest.raises(DamagedPack, match="can't be decompressed"):
        store.get(BLOB, digest)


def test_an_index_made_anew_knows_sizes(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    blobs = PackBlobService(store)
    digests = [blobs.put(TEXT), blobs.put(MIXED), blobs.put(b"x")]
    store.put_frames([(digest_of(b"another"), zstandard.compress(TEXT), len(TEXT))])  # it isn't what its name says
    store.close()
    (tmp_path / "s" / "index.lmdb").unlink()
    again = PackBlobService(PackStore(tmp_path / "s"))
    readers = [again.open(digest) for digest in digests]
    assert [reader and (reader.size, bytes(reader.read_at(0, reader.size))) for reader in readers] == [
        (len(blob), blob) for blob in (TEXT, MIXED, b"x")
    ]
    assert again.open(digest_of(b"another")) is None


def old_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Digest]:
    """A store as version 1 made it, and what is in it."""
    with monkeypatch.context() as patched:
        patched.setattr(pack_format, "VERSION", 1)
        patched.setattr(place, "VERSION", 1)
        store = PackStore(path, level=0)
        digests = [PackBlobService(store).put(blob) for blob in (TEXT, MIXED)]
        store.close()
    assert (path / "format").read_bytes() == b"tvix pack store 1\n"
    return digests


def test_a_store_of_version_1_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, mixed = old_store(tmp_path / "s", monkeypatch)
    blobs = PackBlobService(PackStore(tmp_path / "s"))
    assert [bytes(blob or b"") for _, blob in blobs.read_many([text, mixed])] == [TEXT, MIXED]
    blobs.close()
    assert (tmp_path / "s" / "format").read_bytes() == b"tvix pack store 1\n"


def test_a_store_of_version_1_is_version_2_once_it_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, mixed = old_store(tmp_path / "s", monkeypatch)
    blobs = PackBlobService(PackStore(tmp_path / "s"))
    new = blobs.put(TEXT * 2)
    blobs.close()
    assert (tmp_path / "s" / "format").read_bytes() == b"tvix pack store 2\n"
    again = PackBlobService(PackStore(tmp_path / "s"))
    found = [bytes(blob or b"") for _, blob in again.read_many([text, mixed, new])]
    assert found == [TEXT, MIXED, TEXT * 2]
    assert rebuild_index(tmp_path / "s").damaged == []


def test_zstandard_is_imported_when_it_is_needed(tmp_path: Path) -> None:
    store = PackStore(tmp_path / "s")
    PackBlobService(store).put(b"plain")
    store.close()
    reads = (
        "import sys\n"
        "from tvix.castore.addresses import open_castore, parse_address\n"
        f"castore = open_castore(parse_address('pack:{tmp_path}/s'))\n"
        f"reader = castore.blobs.open(bytes.fromhex('{digest_of(b'plain').hex()}'))\n"
        "assert bytes(reader.read_at(0, 9)) == b'plain'\n"
        "print('zstandard' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", reads], check=True, capture_output=True, text=True).stdout == "False\n"
