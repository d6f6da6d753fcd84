"""Blobs in a pack store: small ones are one record, large ones are chunks and a list of them.

Contents were verified when they came in, so reading hashes nothing; a record that is read whole still has its checksum looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from blake3 import blake3

from tvix.castore.blobs.interface import Buffer, Chunk, Forgotten, StoredBlob
from tvix.castore.blobs.memory import BytesReader
from tvix.castore.chunk_list import ChunkMap, decode_chunks, encode_chunks
from tvix.castore.chunking import AVERAGE_BYTES, Chunker, single_bytes_max
from tvix.castore.digests import Digest, digest_of
from tvix.castore.pack.format import BLOB, CHUNK_LIST, DamagedPack, Location, index_key, raw_size
from tvix.castore.pack.reader import PackGone
from tvix.castore.pack.store import PackStore

_STAGE_BYTES = 1 << 20
_READ_MANY = 256


class PackBlobService:
    """A `BlobService` over a `PackStore`. `average_chunk_bytes` is where the average of large blobs' chunks begins.

    Where the store drops old packs, a large blob counts as here while all its chunks are, and readers may raise `Forgotten`.
    """

    forgets = False
    """There is room for large blobs, and readers hold none of their contents."""

    def __init__(self, store: PackStore, average_chunk_bytes: int | None = None) -> None:
        self._store = store
        self._average = average_chunk_bytes or AVERAGE_BYTES
        self._single_max = single_bytes_max(self._average)
        Chunker(self._average)

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `BlobService`."""
        absent = self._store.missing(BLOB, digests)
        if not absent:
            return absent  # type: ignore[return-value]
        unlisted = self._store.missing(CHUNK_LIST, absent)
        if self._store.partial:
            unlisted |= {digest for digest in absent - unlisted if self._listed(Digest(digest)) is None}
        return unlisted  # type: ignore[return-value]

    def open(self, digest: Digest) -> BytesReader | SingleReader | ChunkedReader | None:
        """See `BlobService`."""
        key = index_key(BLOB, digest)
        contents = self._store.pending(key)
        if contents is not None:
            return BytesReader(contents)
        location = self._store.locate((key,))[0]
        if location is not None:
            return SingleReader(self._store, key, location)
        chunks = self._listed(digest)
        return None if chunks is None else ChunkedReader(self._store, chunks)

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """See `BlobService`."""
        chunks = self._listed(digest)
        if chunks is not None:
            return chunks
        return None if self._store.missing(BLOB, (digest,)) else ()

    @property
    def pack(self) -> PackStore:
        """Where everything lies."""
        return self._store

    @property
    def partial(self) -> bool:
        """Whether large blobs may lack chunks: the store is the near end of something."""
        return self._store.partial

    def known_chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """The list of a large blob, also where some of its chunks were dropped: it was made when all of it was here."""
        encoded = self._store.get(CHUNK_LIST, digest)
        return None if encoded is None else decode_chunks(encoded)

    def _listed(self, digest: Digest) -> Sequence[Chunk] | None:
        """The list of a large blob whose chunks are all here."""
        chunks = self.known_chunks(digest)
        if chunks and self._store.partial and self._store.missing(BLOB, [chunk.digest for chunk in chunks]):
            return None
        return chunks

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        """See `BlobService`."""
        rest = iter(digests)
        while batch := list(islice(rest, _READ_MANY)):
            for digest, contents in zip(batch, self._store.get_many(BLOB, batch), strict=True):
                if contents is not None:
                    yield digest, contents
                    continue
                reader = self.open(digest)
                whole: Buffer | None = None
                with suppress(Forgotten):
                    whole = None if reader is None else reader.read_at(0, reader.size)
                yield digest, whole

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

    def read_stored(self, digests: Sequence[Digest], bytes_max: int | None = None) -> list[StoredBlob | None]:
        """See `StoredBlobService`. Raises `DamagedPack`, `StoreFailed`."""
        store = self._store
        keys = [index_key(BLOB, digest) for digest in digests]
        pending = {key: stored for key in keys if (stored := store.pending_stored(key)) is not None}
        locations = iter(store.locate([key for key in keys if key not in pending]))
        found: list[StoredBlob | None] = []
        size = 0
        for key in keys:
            one: tuple[int, Buffer] | None = pending.get(key)
            if one is None and (location := next(locations)) is not None:
                with suppress(Forgotten):
                    one = store.stored(key, location)
            found.append(None if one is None else StoredBlob(one[0] or len(one[1]), one[1]))
            size += len(one[1]) if one is not None else 0
            if bytes_max is not None and size >= bytes_max:
                break
        return found

    def put_stored(self, blobs: Iterable[tuple[Digest, StoredBlob]]) -> None:
        """See `StoredBlobService`. Raises `DiskFull`, `StoreFailed`."""
        for digest, (size, contents) in blobs:
            if len(contents) < size:
                self._store.put_frames(((digest, contents, size),))
            else:
                self._store.put(BLOB, digest, contents)

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


class SingleReader:
    """A `BlobReader` of one record."""

    __slots__ = ("_key", "_location", "_store", "size")

    def __init__(self, store: PackStore, key: bytes, location: Location) -> None:
        self._store = store
        self._key = key
        self._location = location
        self.size = raw_size(key, location) or location[2]

    def read_at(self, offset: int, length: int) -> Buffer:
        """See `BlobReader`. Raises `Forgotten`, `DamagedPack`, `StoreFailed`."""
        size = self.size
        if offset == 0 and length >= size:
            return self._store.payload(self._key, self._location)
        length = min(length, size - offset)
        if length <= 0:
            return b""
        return self._store.part(self._key, self._location, offset, length)

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
        """See `BlobReader`. Raises `Forgotten`, `DamagedPack`, `StoreFailed`."""
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
            raise self._store.gone("a pack that the index names") from None

    def _read(self, pieces: list[tuple[int, int, int]]) -> Buffer:
        locations = self._locations
        chunks = self._map.chunks
        unknown = [number for number, _offset, _length in pieces if locations[number] is None]
        pending: dict[int, Buffer] = {}
        if unknown:
            keys = {number: index_key(BLOB, chunks[number].digest) for number in unknown}
            pending = {number: contents for number, key in keys.items() if (contents := self._store.pending(key)) is not None}
            unknown = [number for number in unknown if number not in pending]
            found = self._store.locate([keys[number] for number in unknown])
            for number, location in zip(unknown, found, strict=True):
                chunk = chunks[number]
                if location is None:
                    raise self._store.gone(f"chunk {chunk.digest.hex()}")
                if (location[3] or location[2]) != chunk.size:
                    reason = f"chunk {chunk.digest.hex()} is not there as its list says"
                    raise DamagedPack(path=self._store.path, offset=0, reason=reason)
                locations[number] = location
        return self._gather(pieces, pending)

    def _gather(self, pieces: list[tuple[int, int, int]], pending: dict[int, Buffer]) -> Buffer:
        """Chunks that lie as they are by as few calls as they allow, others by themselves."""
        store = self._store
        chunks = self._map.chunks
        parts: list[Buffer] = []
        plain: list[tuple[Location, int, int]] = []
        for number, offset, length in pieces:
            location = self._locations[number]
            if location is not None and not location[3]:
                plain.append((location, offset, length))
                continue
            if plain:
                parts.append(store.files.span(plain))
                plain = []
            key = index_key(BLOB, chunks[number].digest)
            if location is None:
                parts.append(memoryview(pending[number])[offset : offset + length])
            elif length == chunks[number].size:
                parts.append(store.payload(key, location))
            else:
                parts.append(store.part(key, location, offset, length))
        if plain:
            parts.append(store.files.span(plain))
        return parts[0] if len(parts) == 1 else b"".join(parts)

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
