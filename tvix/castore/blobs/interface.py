"""What a blob store can do.

A blob is a byte string named by its BLAKE3 digest. Large blobs are kept as chunks, which are blobs themselves and may be read as
such. Implementations are safe to share between threads. What they hand out has been verified: a caller never sees a wrong byte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from tvix.castore.digests import Digest
from tvix.errors import EX_DATAERR, EX_UNAVAILABLE, TvixError

Buffer = bytes | bytearray | memoryview


class Chunk(NamedTuple):
    """A piece of a blob: its digest and its size in bytes."""

    digest: Digest
    size: int


class CorruptBlob(TvixError):
    """The bytes of a blob are not those that its name promises."""

    identifier = "castore.corrupt-blob"
    message = "blob {digest} from {origin} hashes to {actual}: refused"
    hint = "the origin is damaged or lies; take it out of the store's configuration"
    exit_code = EX_DATAERR


class StoreUnavailable(TvixError):
    """A store can't be reached, or didn't answer in time."""

    identifier = "castore.store-unavailable"
    message = "store {origin} can't be reached: {reason}"
    hint = "check that it runs and that the address is right; what is already near can still be read"
    exit_code = EX_UNAVAILABLE


class Forgotten(StoreUnavailable):
    """Something that a store with a bound dropped while it was being read."""

    identifier = "castore.forgotten"
    message = "{what} was just dropped from {origin}, which keeps below a bound"
    hint = "read it through a cache with a far end, which fetches it again, or give the store a larger bound"


class BlobReader(Protocol):
    """A verified, seekable view of one blob. Safe to share between threads."""

    @property
    def size(self) -> int: ...

    def read_at(self, offset: int, length: int) -> Buffer:
        """At most `length` bytes from `offset`; fewer only at the end. Raises `CorruptBlob`, `StoreUnavailable`."""

    def close(self) -> None:
        """Let go of what the reader holds. Harmless twice."""


class BlobWriter(Protocol):
    """Takes the contents of one blob in order; nothing is visible before `close`."""

    def write(self, data: Buffer) -> None: ...

    def close(self) -> Digest:
        """Finish the blob and say its name. Closing again says the same name."""

    def abort(self) -> None:
        """Forget what was written. Harmless after `close`."""


class BlobService(Protocol):
    """A set of blobs that only grows; removal belongs to garbage collection.

    What was written is visible through this object at once, and durable and visible to others after `sync`.
    """

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are not here: one round trip, however many."""

    def open(self, digest: Digest) -> BlobReader | None:
        """A reader, or None where the blob is not here. No contents are moved yet."""

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """The chunks of a blob in order; empty where it is one piece, None where it is not here."""

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        """Whole blobs, in the order asked, None for those not here: for many small blobs in few round trips."""

    def put(self, contents: Buffer) -> Digest:
        """Store a whole blob that is already in memory."""

    def writer(self) -> BlobWriter: ...

    def sync(self) -> None:
        """Make everything written so far durable, and visible to other processes."""

    def close(self) -> None:
        """Sync, and let go of files and connections."""


@runtime_checkable
class BulkBlobService(Protocol):
    """What a `BlobService` can offer besides: to take small blobs by the hundred, with digests that the caller computed."""

    @property
    def single_bytes_max(self) -> int:
        """The largest blob that may be given so."""

    def put_many(self, blobs: Iterable[tuple[Digest, bytes]]) -> None:
        """Store them."""


class StoredBlob(NamedTuple):
    """A small blob or chunk as it lies in a store. `size` is the blob's; where `contents` are shorter, they are one zstd frame."""

    size: int
    contents: Buffer


@runtime_checkable
class StoredBlobService(Protocol):
    """What a `BlobService` can offer besides: blobs as they lie, so that nobody compresses them anew on the way."""

    def read_stored(self, digests: Sequence[Digest], bytes_max: int | None = None) -> list[StoredBlob | None]:
        """In the order asked. None for what is not here, and for large blobs that are not one piece.

        With `bytes_max` the list ends behind the blob whose contents reach it, so it may be shorter than `digests`; memory is
        then bounded by that and the largest blob.
        """

    def put_stored(self, blobs: Iterable[tuple[Digest, StoredBlob]]) -> None:
        """Store blobs in one piece. The caller has decompressed them and computed their digests."""


@runtime_checkable
class ChunkedBlobService(Protocol):
    """What a `BlobService` can offer besides: to take a large blob as chunks that came one by one, in whatever order."""

    def put_chunked(self, digest: Digest, chunks: Sequence[Chunk]) -> bool:
        """Store a blob whose chunks are stored already. The caller has hashed the whole. False where a chunk isn't here."""
