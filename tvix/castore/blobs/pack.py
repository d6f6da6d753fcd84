"""Blobs in a pack store: small ones are one record, large ones are chunks and a list of them.

Contents were verified when they came in, so reading hashes nothing; a record that is read whole still has its checksum looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from blake3 import blake3

from tvix.castore.blobs.interface import Buffer, Chunk
from tvix.castore.chunk_list import ChunkMap, decode_chunks, encode_chunks
from tvix.castore.chunking import AVERAGE_BYTES, Chunker, single_bytes_max
from tvix.castore.digests import Digest, digest_of
from tvix.castore.pack.format import BLOB, CHUNK_LIST, DamagedPack, Location, index_key
from tvix.castore.pack.reader import PackGone
from tvix.castore.pack.store import PackStore

_STAGE_BYTES = 1 << 20
_READ_MANY = 256


class PackBlobService:
    """A `BlobService` over a `PackStore`. `average_chunk_bytes` is where the average of large blobs' chunks begins."""

    forgets = False
    """What was stored stays."""

    def __init__(self, store: PackStore, average_chunk_bytes: int | None = None) -> None:
        self._store = store
        self._average = average_chunk_bytes or AVERAGE_BYTES
        self._single_max = single_bytes_max(self._average)
        Chunker(self._average)

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `BlobService`."""
        absent = self._store.missing(BLOB, digests)
        return self._store.missing(CHUNK_LIST, absent) if absent else absent  # type: ignore[return-value]

    def open(self, digest: Digest) -> SingleReader | ChunkedReader | None:
        """See `BlobService`."""
        single, chunked = self._store.locate((index_key(BLOB, digest), index_key(CHUNK_LIST, digest)))
        if single is not None:
            return SingleReader(self._store, index_key(BLOB, digest), single)
        if chunked is not None:
            return ChunkedReader(self._store, self._chunk_list(digest, chunked))
        return None

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """See `BlobService`."""
        single, chunked = self._store.locate((index_key(BLOB, digest), index_key(CHUNK_LIST, digest)))
        if chunked is not None:
            return self._chunk_list(digest, chunked)
        return None if single is None else ()

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        """See `BlobService`."""
        rest = iter(digests)
        while batch := list(islice(rest, _READ_MANY)):
            for digest, contents in zip(batch, self._store.get_many(BLOB, batch), strict=True):
                if contents is not None:
                    yield digest, contents
                    continue
                reader = self.open(digest)
                yield digest, None if reader is None else reader.read_at(0, reader.size)

    def put(self, contents: Buffer) -> Digest:
        """See `BlobService`. Raises `DiskFull`, `StoreFailed`, `BlobTooLarge`."""
        if len(contents) <= self._single_max:
            digest = digest_of(contents)
            self._store.put(BLOB, digest, contents)
            return digest
        writer = self.writer()
        writer.write(contents)
        return writer.close()

    def put_many(self, blobs: Iterable[tuple[Digest, bytes]]) -> None:
        """See `BulkBlobService`. Raises `DiskFull`, `StoreFailed`."""
        self._store.put_many(BLOB, blobs)

    @property
    def single_bytes_max(self) -> int:
        """See `BulkBlobService`."""
        return self._single_max

    def put_chunked(self, digest: Digest, chunks: Sequence[Chunk]) -> bool:
        """See `ChunkedBlobService`. Raises `DiskFull`, `StoreFailed`."""
        if self._store.missing(BLOB, {chunk.digest for chunk in chunks}):
            return False
        self._store.put(CHUNK_LIST, digest, encode_chunks(chunks))
        return True

    def writer(self) -> PackBlobWriter:
        """See `BlobService`."""
        return PackBlobWriter(self._store, self._average)

    def sync(self) -> None:
        """See `BlobService`. Raises `DiskFull`, `StoreFailed`."""
        self._store.sync()

    def close(self) -> None:
        """See `BlobService`. Closes the store, which other services may share: close them together."""
        self._store.close()

    def _chunk_list(self, digest: Digest, location: Location) -> list[Chunk]:
        return decode_chunks(self._store.payload(index_key(CHUNK_LIST, digest), location))


class SingleReader:
    """A `BlobReader` of one record."""

    __slots__ = ("_key", "_location", "_store", "size")

    def __init__(self, store: PackStore, key: bytes, location: Location) -> None:
        self._store = store
        self._key = key
        self._location = location
        self.size = location[2]

    def read_at(self, offset: int, length: int) -> Buffer:
        """See `BlobReader`. Raises `DamagedPack`, `StoreFailed`."""
        size = self.size
        if offset == 0 and length >= size:
            return self._store.payload(self._key, self._location)
        length = min(length, size - offset)
        if length <= 0:
            return b""
        try:
            return self._store.files.part(self._location, offset, length)
        except PackGone:
            return self._store.files_retry(self._key, lambda location: self._store.files.part(location, offset, length))

    def close(self) -> None:
        """Nothing is held."""


class ChunkedReader:
    """A `BlobReader` of chunks, which are located as they are needed and read many at a time."""

    __slots__ = ("_locations", "_map", "_store")

    def __init__(self, store: PackStore, chunks: Sequence[Chunk]) -> None:
        self._store = store
        self._map = ChunkMap(chunks)
        self._locations: list[Location | None] = [None] * len(chunks)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._map.size

    def read_at(self, offset: int, length: int) -> Buffer:
        """See `BlobReader`. Raises `DamagedPack`, `StoreFailed`."""
        pieces = list(self._map.pieces(offset, length))
        if not pieces:
            return b""
        try:
            return self._read(pieces)
        except PackGone:
            for number, _offset, _length in pieces:
                self._locations[number] = None
        try:
            return self._read(pieces)
        except PackGone:
            raise DamagedPack(path=self._store.path, offset=0, reason="a pack that the index names is gone") from None

    def _read(self, pieces: list[tuple[int, int, int]]) -> Buffer:
        locations = self._locations
        unknown = [number for number, _offset, _length in pieces if locations[number] is None]
        if unknown:
            chunks = self._map.chunks
            found = self._store.locate([index_key(BLOB, chunks[number].digest) for number in unknown])
            for number, location in zip(unknown, found, strict=True):
                if location is None or location[2] != chunks[number].size:
                    reason = f"chunk {chunks[number].digest.hex()} is not there as its list says"
                    raise DamagedPack(path=self._store.path, offset=0, reason=reason)
                locations[number] = location
        size = sum(length for _number, _offset, length in pieces)
        spans = [(locations[number], offset, length) for number, offset, length in pieces]
        return self._store.files.span(spans, size)  # type: ignore[arg-type]

    def close(self) -> None:
        """Nothing is held."""


class PackBlobWriter:
    """A `BlobWriter` whose memory is bounded: chunks are written as they are cut, and found by nobody before `close`."""

    def __init__(self, store: PackStore, average: int) -> None:
        self._store = store
        self._average = average
        self._hasher = blake3()
        self._start: list[bytes] = []
        self._start_bytes = 0
        self._chunker: Chunker | None = None
        self._staged: list[tuple[bytes, Buffer]] = []
        self._staged_bytes = 0
        self._entries: dict[bytes, Location] = {}
        self._chunks: list[Chunk] = []
        self._digest: Digest | None = None
        self._open = True

    def write(self, data: Buffer) -> None:
        """See `BlobWriter`. Raises `DiskFull`, `StoreFailed`, `BlobTooLarge`."""
        if not self._open:
            raise ValueError("write to a blob that is closed")
        self._hasher.update(data)
        if self._chunker is None:
            if self._start_bytes + len(data) <= single_bytes_max(self._average):
                self._start.append(bytes(data))
                self._start_bytes += len(data)
                return
            self._chunker = Chunker(self._average)
            for piece in self._start:
                self._take(self._chunker.feed(piece))
            self._start = []
        self._take(self._chunker.feed(data))
        self._stage()

    def close(self) -> Digest:
        """See `BlobWriter`. Raises `DiskFull`, `StoreFailed`, `BlobTooLarge`."""
        if self._digest is not None:
            return self._digest
        if not self._open:
            raise ValueError("close of a blob that was aborted")
        digest = Digest(self._hasher.digest())
        if self._chunker is None:
            self._store.put(BLOB, digest, b"".join(self._start))
        else:
            self._take(self._chunker.finish())
            self._stage()
            self._store.publish(self._entries)
            self._entries = {}
            self._store.put(CHUNK_LIST, digest, encode_chunks(self._chunks))
        self._digest = digest
        self.abort()
        return digest

    def abort(self) -> None:
        """See `BlobWriter`."""
        self._open = False
        self._start = []
        self._staged = []
        entries, self._entries = self._entries, {}
        self._store.discard(entries)
        self._chunks = []
        self._chunker = None

    def _take(self, chunks: Sequence[Buffer]) -> None:
        for chunk in chunks:
            digest = digest_of(chunk)
            self._chunks.append(Chunk(digest, len(chunk)))
            self._staged.append((index_key(BLOB, digest), chunk))
            self._staged_bytes += len(chunk)
            if self._staged_bytes >= _STAGE_BYTES:
                self._stage()

    def _stage(self) -> None:
        """Write the chunks that are cut: they may be views of what the caller gave, which is his again after `write`."""
        if self._staged:
            self._store.stage(self._staged, self._entries)
            self._staged = []
            self._staged_bytes = 0
