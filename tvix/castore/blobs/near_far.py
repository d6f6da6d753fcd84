"""Two blob stores as one: read near, else fetch from far, verify, keep near, and read that.

No byte is handed out before the whole blob has hashed to its name, so far need not be trusted with anything, its lists of chunks
least of all: a blob's digest doesn't cover how it was cut. (Where the address of far says `trust=lists` its lists are believed:
`tvix.castore.blobs.believed`.) While a blob passes by it is cut again, and those digests are ours.
Where near can't hold it, or forgets it, ranges come from far once more and each chunk is held to our list.

Whoever asks for a blob that is on its way waits for the one fetch. If far fails, what is near can still be read. Writes go near
alone: pushing is the work of copying.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from threading import Lock

from blake3 import blake3

from tvix.castore.blobs.believed import BelievedList, is_plausible
from tvix.castore.blobs.contents import WrongBlobSize, bound
from tvix.castore.blobs.interface import (
    BlobReader,
    BlobService,
    BlobWriter,
    Buffer,
    BulkBlobService,
    Chunk,
    ChunkedBlobService,
    CorruptBlob,
    Forgotten,
    StoreUnavailable,
)
from tvix.castore.blobs.memory import BytesReader
from tvix.castore.blobs.ranges import VerifiedRanges
from tvix.castore.chunk_list import decode_chunks, encode_chunks
from tvix.castore.chunking import Chunker, single_bytes_max
from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.flights import Flights
from tvix.castore.pack.format import DiskFull, StoreFailed

PIECE_BYTES = 1 << 20
_READ_MANY = 256
_TRIES = 8
_BELIEVED_MAX = 64
_REMEMBERED_BYTES = 4 << 20  # of lists, at 36 bytes a chunk: lists for 8 GiB and more


class NearFarBlobService:
    """A `BlobService` of `near` in front of `far`; `far_name` is the address that errors name.

    With `trusts_lists` a large blob is read by the chunks that far lists, each checked and kept by itself, and the whole once all
    have come. What a far end has verified already (`verifies`) isn't hashed again.
    """

    def __init__(self, near: BlobService, far: BlobService, far_name: str, *, trusts_lists: bool = False) -> None:
        self._near = near
        self._trusts_lists = trusts_lists
        self._far_verifies: bool = getattr(far, "verifies", False)
        self._believed: dict[Digest, BelievedList] = {}  # oldest use first
        self._far = far
        self._far_name = far_name
        self._flights: Flights[tuple[Digest, int | None], bytes | None] = Flights()
        self._lists: dict[Digest, bytes] = {}  # oldest first
        self._lists_bytes = 0
        self._lock = Lock()

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `BlobService`. Raises `StoreUnavailable` where near alone can't tell."""
        absent_near = self._near.missing(digests)
        return self._far.missing(absent_near) if absent_near else absent_near

    def open(self, digest: Digest) -> BlobReader | None:
        """See `BlobService`. What isn't near is fetched, whole, by the first read."""
        reader = self.find(digest)
        if reader is not None and getattr(self._near, "partial", False):
            return _SteadyReader(self, digest, reader, self._far_name)
        return reader

    def find(self, digest: Digest) -> BlobReader | None:
        """As `open`, but the reader may raise `Forgotten` where near drops what it has."""
        reader = self._here(digest)
        if reader is not None:
            return reader
        far_reader = self._far.open(digest)
        if far_reader is None:
            return None
        if self._trusts_lists and not isinstance(far_reader, BytesReader):
            believed = self._believe(digest)
            if believed is not None:
                far_reader.close()
                return believed
        return _LazyReader(self, digest, far_reader)

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """See `BlobService`. Chunks are known of what was fetched; far's own lists are not passed on."""
        near = self._near.chunks(digest)
        if near:
            return near
        encoded = self._lists.get(digest)
        if encoded:
            return decode_chunks(encoded)
        return () if near is not None or not self._far.missing([digest]) else None

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        """See `BlobService`. What isn't near comes from far in one call for each 256."""
        rest = iter(digests)
        while batch := list(islice(rest, _READ_MANY)):
            found = dict(self._near.read_many(batch))
            absent = [digest for digest, contents in found.items() if contents is None]
            if absent:
                for digest, (answered, contents) in zip(absent, self._far.read_many(absent), strict=True):
                    if contents is not None:
                        known = self._far_verifies or answered != digest
                        self._check(digest, answered if known else digest_of(contents))
                        self._keep_small(digest, bytes(contents))
                    found[digest] = contents
            for digest in batch:
                yield digest, found[digest]

    def put(self, contents: Buffer) -> Digest:
        """See `BlobService`: near alone."""
        return self._near.put(contents)

    def put_many(self, blobs: Iterable[tuple[Digest, bytes]]) -> None:
        """See `BulkBlobService`: near alone."""
        if isinstance(self._near, BulkBlobService):
            self._near.put_many(blobs)
        else:
            for _digest, contents in blobs:
                self._near.put(contents)

    @property
    def single_bytes_max(self) -> int:
        """See `BulkBlobService`: that of near."""
        return self._near.single_bytes_max if isinstance(self._near, BulkBlobService) else single_bytes_max()

    def writer(self) -> BlobWriter:
        """See `BlobService`: near alone."""
        return self._near.writer()

    def sync(self) -> None:
        """See `BlobService`: near alone, since nothing is written far."""
        self._near.sync()

    def close(self) -> None:
        """See `BlobService`: both."""
        self._near.close()
        self._far.close()

    def fetch(self, digest: Digest, far_reader: BlobReader, size: int | None = None) -> BlobReader:
        """The blob, verified, from wherever it then is; used by the readers of this service.

        `size` is what somebody says it has. Raises `CorruptBlob`, and `WrongBlobSize` where far sends more than that.
        """
        contents = self._flights.run((digest, size), lambda: self._fetch(digest, far_reader, size))
        if contents is not None:
            return BytesReader(contents)
        reader = self._here(digest)
        while reader is None:  # forgotten within these few lines: near is too small for what it is asked
            self._fetch_large(digest, far_reader, b"", size, keep=False)
            reader = self._here(digest)
        return reader

    def _here(self, digest: Digest) -> BlobReader | None:
        """From near, or by our own list; near's is one, where it has dropped some of the chunks."""
        reader = self._near.open(digest)
        if reader is not None:
            return reader
        encoded = self._lists.get(digest)
        chunks = decode_chunks(encoded) if encoded is not None else None
        if chunks is None and getattr(self._near, "partial", False):
            chunks = self._near.known_chunks(digest)  # type: ignore[attr-defined]
        return None if chunks is None else VerifiedRanges(digest, chunks, self._near, self._far, self._far_name)

    def _fetch(self, digest: Digest, far_reader: BlobReader, size: int | None) -> bytes | None:
        """Fetch a blob; small ones are returned as well, since near may be unable to keep them."""
        if self._here(digest) is not None:
            return None
        first = far_reader.read_at(0, single_bytes_max() + 1)
        if len(first) <= single_bytes_max():
            contents = bytes(first)
            if not self._far_verifies:
                self._check(digest, digest_of(contents))
            self._keep_small(digest, contents)
            return contents
        try:
            self._fetch_large(digest, far_reader, first, size, keep=True)
        except (DiskFull, StoreFailed):
            self._fetch_large(digest, far_reader, first, size, keep=False)
        return None

    def _fetch_large(self, digest: Digest, far_reader: BlobReader, first: Buffer, size: int | None, keep: bool) -> None:
        """Pass the blob by once; `first` is its beginning. Nothing is near before it has proved to be what it should be."""
        hasher = None if self._far_verifies else blake3()
        chunker = Chunker() if not keep or getattr(self._near, "forgets", True) else None
        chunks: list[Chunk] = []
        writer = self._near.writer() if keep else None
        offset = 0
        piece = first or far_reader.read_at(0, PIECE_BYTES)
        try:
            while piece:
                if size is not None and offset + len(piece) > size:
                    raise WrongBlobSize(digest=print_digest(digest), said=size, actual=offset + len(piece))
                if hasher is not None:
                    hasher.update(piece)
                if writer is not None:
                    writer.write(piece)
                if chunker is not None:
                    chunks += [Chunk(digest_of(chunk), len(chunk)) for chunk in chunker.feed(piece)]
                offset += len(piece)
                piece = far_reader.read_at(offset, PIECE_BYTES)
            if hasher is not None:
                self._check(digest, Digest(hasher.digest()))
            if writer is not None:
                writer.close()
        finally:
            if writer is not None:
                writer.abort()
        if chunker is not None:
            chunks += [Chunk(digest_of(chunk), len(chunk)) for chunk in chunker.finish()]
            self._remember(digest, encode_chunks(chunks))

    def _believe(self, digest: Digest) -> BlobReader | None:
        """By far's list, where there is one that can be believed; None otherwise."""
        with self._lock:
            believed = self._believed.pop(digest, None)
        if believed is None:
            chunks = self._far.chunks(digest) or ()
            if not is_plausible(chunks):
                return None
            believed = BelievedList(digest, chunks, self._near, self._far_name, self._prove)
        with self._lock:
            believed = self._believed.setdefault(digest, believed)
            while len(self._believed) > _BELIEVED_MAX:
                self._believed.pop(next(iter(self._believed)))
        return VerifiedRanges(digest, believed.chunks, self._near, self._far, self._far_name, believed.take)

    def _prove(self, believed: BelievedList) -> None:
        """A list turned out to be right: the whole blob is near, or can be read by a list that is ours from now on."""
        with self._lock:
            self._believed.pop(believed.digest, None)
        if not getattr(self._near, "forgets", True) and isinstance(self._near, ChunkedBlobService):
            with suppress(DiskFull, StoreFailed):
                if self._near.put_chunked(believed.digest, believed.chunks):
                    return
        self._remember(believed.digest, encode_chunks(believed.chunks))

    def _keep_small(self, digest: Digest, contents: bytes) -> None:
        with suppress(DiskFull, StoreFailed):  # it was verified, and can be read without being kept
            if isinstance(self._near, BulkBlobService) and len(contents) <= self._near.single_bytes_max:
                self._near.put_many(((digest, contents),))
            else:
                self._near.put(contents)

    def _remember(self, digest: Digest, encoded: bytes) -> None:
        with self._lock:
            self._lists_bytes += len(encoded) - len(self._lists.pop(digest, b""))
            self._lists[digest] = encoded
            while self._lists_bytes > _REMEMBERED_BYTES and len(self._lists) > 1:
                self._lists_bytes -= len(self._lists.pop(next(iter(self._lists))))

    def _check(self, digest: Digest, actual: Digest) -> None:
        if actual != digest:
            raise CorruptBlob(digest=print_digest(digest), origin=self._far_name, actual=print_digest(actual))


class _SteadyReader:
    """A blob out of a near end that may drop it at any moment: then it is found again, by its list or far."""

    def __init__(self, service: NearFarBlobService, digest: Digest, reader: BlobReader, far_name: str) -> None:
        self._service = service
        self._digest = digest
        self._reader = reader
        self._far_name = far_name

    def bound(self, size: int) -> None:
        """See `tvix.castore.blobs.contents.bound`."""
        bound(self._reader, size)

    @property
    def size(self) -> int:
        return self._reader.size

    def read_at(self, offset: int, length: int) -> Buffer:
        """See `BlobReader`."""
        reader = self._reader
        for tries_left in reversed(range(_TRIES)):
            try:
                return reader.read_at(offset, length)
            except Forgotten:
                if not tries_left:
                    raise
                found = self._service.find(self._digest)
            if found is None:
                raise StoreUnavailable(origin=self._far_name, reason=f"it no longer has blob {print_digest(self._digest)}")
            reader.close()
            self._reader = reader = found
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """See `BlobReader`."""
        self._reader.close()


class _LazyReader:
    """A blob that far has: fetched by the first read or question for its size, since far's own word for it proves nothing."""

    def __init__(self, service: NearFarBlobService, digest: Digest, far_reader: BlobReader) -> None:
        self._service = service
        self._digest = digest
        self._far_reader: BlobReader | None = far_reader
        self._reader: BlobReader | None = None
        self._size: int | None = None
        self._lock = Lock()

    def bound(self, size: int) -> None:
        """See `tvix.castore.blobs.contents.bound`."""
        self._size = size

    @property
    def size(self) -> int:
        return self._fetched().size

    def read_at(self, offset: int, length: int) -> Buffer:
        """See `BlobReader`."""
        return self._fetched().read_at(offset, length)

    def close(self) -> None:
        """See `BlobReader`."""
        for reader in (self._far_reader, self._reader):
            if reader is not None:
                reader.close()

    def _fetched(self) -> BlobReader:
        with self._lock:
            if self._reader is None:
                if self._far_reader is None:
                    raise AssertionError("neither far nor near")
                self._reader = self._service.fetch(self._digest, self._far_reader, self._size)
                self._far_reader.close()
                self._far_reader = None
            return self._reader
