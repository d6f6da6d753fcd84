"""Blobs in memory: for tests, for one-off runs, and as the near end of a machine that has nothing but memory.

Unbounded it forgets nothing. With `max_bytes` it drops whole blobs, the longest unused first; a reader that is open keeps what it
holds, so its memory is freed when the reader goes. What is given compressed is kept so and decompressed when it is read: the bound
counts what is kept, and holds two or three times as much of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from threading import Lock

from blake3 import blake3

from tvix.castore.blobs.interface import Buffer, Chunk, StoredBlob
from tvix.castore.chunking import single_bytes_max
from tvix.castore.compression import decompress
from tvix.castore.digests import Digest, digest_of


class BytesReader:
    """A `BlobReader` over contents that are in memory."""

    __slots__ = ("_contents", "size")

    def __init__(self, contents: Buffer) -> None:
        self._contents = contents
        self.size = len(contents)

    def read_at(self, offset: int, length: int) -> Buffer:
        """A slice; see `BlobReader`."""
        return self._contents[offset : offset + length]

    def close(self) -> None:
        """Let go of the contents."""
        self._contents = b""


class MemoryBlobService:
    """A `BlobService` that keeps at most `max_bytes` of contents, or everything."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self._blobs: dict[Digest, bytes] = {}  # oldest use first, where there is a bound
        self._frames: dict[Digest, int] = {}  # those that are zstd frames, and the sizes of their contents
        self._bytes = 0
        self._lock = Lock()

    @property
    def forgets(self) -> bool:
        """Whether what was stored may be dropped again."""
        return self.max_bytes is not None

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `BlobService`."""
        return {digest for digest in digests if digest not in self._blobs}

    def open(self, digest: Digest) -> BytesReader | None:
        """See `BlobService`."""
        contents = self._get(digest)
        return None if contents is None else BytesReader(contents)

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """Every blob is one piece here."""
        return () if digest in self._blobs else None

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        """See `BlobService`."""
        for digest in digests:
            yield digest, self._get(digest)

    def put(self, contents: Buffer) -> Digest:
        """See `BlobService`. A blob over the bound is hashed and forgotten."""
        kept = bytes(contents)
        digest = digest_of(kept)
        self.keep(digest, kept)
        return digest

    def put_many(self, blobs: Iterable[tuple[Digest, bytes]]) -> None:
        """See `BulkBlobService`."""
        for digest, contents in blobs:
            self.keep(digest, contents)

    @property
    def single_bytes_max(self) -> int:
        """See `BulkBlobService`: as in other stores, so that all cut alike."""
        return single_bytes_max()

    def read_stored(self, digests: Sequence[Digest], bytes_max: int | None = None) -> list[StoredBlob | None]:
        """See `StoredBlobService`."""
        found: list[StoredBlob | None] = []
        size = 0
        for digest in digests:
            raw, stored = self._stored(digest)
            found.append(None if stored is None else StoredBlob(raw or len(stored), stored))
            size += len(stored or b"")
            if bytes_max is not None and size >= bytes_max:
                break
        return found

    def put_stored(self, blobs: Iterable[tuple[Digest, StoredBlob]]) -> None:
        """See `StoredBlobService`."""
        for digest, (size, contents) in blobs:
            self.keep(digest, bytes(contents), size if len(contents) < size else 0)

    def writer(self) -> MemoryBlobWriter:
        """See `BlobService`."""
        return MemoryBlobWriter(self, self.max_bytes)

    def keep(self, digest: Digest, contents: bytes, raw_size: int = 0) -> None:
        """Store contents whose digest the caller has computed; with `raw_size` they are a zstd frame of so many bytes."""
        size = len(contents)
        with self._lock:
            if digest in self._blobs or (self.max_bytes is not None and size > self.max_bytes):
                return
            if raw_size:
                self._frames[digest] = raw_size
            self._blobs[digest] = contents
            self._bytes += size
            if self.max_bytes is not None:
                while self._bytes > self.max_bytes:
                    oldest = next(iter(self._blobs))
                    self._bytes -= len(self._blobs.pop(oldest))
                    self._frames.pop(oldest, None)

    def sync(self) -> None:
        """Memory is as durable as it gets."""

    def close(self) -> None:
        """Nothing to let go of."""

    def _get(self, digest: Digest) -> bytes | None:
        size, stored = self._stored(digest)
        return decompress(stored, size) if stored is not None and size else stored

    def _stored(self, digest: Digest) -> tuple[int, bytes | None]:
        """A blob as it lies; before it its size, where it is compressed."""
        if self.max_bytes is None:
            return self._frames.get(digest, 0), self._blobs.get(digest)
        with self._lock:
            contents = self._blobs.pop(digest, None)
            if contents is not None:
                self._blobs[digest] = contents
            return self._frames.get(digest, 0), contents


class MemoryBlobWriter:
    """A `BlobWriter`. What passes the bound is hashed and let go, so a large blob doesn't fill memory in vain."""

    def __init__(self, service: MemoryBlobService, max_bytes: int | None) -> None:
        self._service = service
        self.max_bytes = max_bytes
        self._pieces: list[bytes] | None = []
        self._size = 0
        self._hasher = blake3()
        self._digest: Digest | None = None
        self._open = True

    def write(self, data: Buffer) -> None:
        """See `BlobWriter`."""
        if not self._open:
            raise ValueError("write to a blob that is closed")
        self._hasher.update(data)
        self._size += len(data)
        if self.max_bytes is not None and self._size > self.max_bytes:
            self._pieces = None
        if self._pieces is not None:
            self._pieces.append(bytes(data))

    def close(self) -> Digest:
        """See `BlobWriter`."""
        if self._digest is None:
            if not self._open:
                raise ValueError("close of a blob that was aborted")
            self._open = False
            self._digest = Digest(self._hasher.digest())
            if self._pieces is not None:
                self._service.keep(self._digest, b"".join(self._pieces))
                self._pieces = None
        return self._digest

    def abort(self) -> None:
        """See `BlobWriter`."""
        self._open = False
        self._pieces = None
