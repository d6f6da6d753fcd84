"""Ranges of a blob that was verified once and isn't kept whole: by chunk, each held to the list made on that pass.

A far end that cuts blobs as we do has the chunks as blobs of their own, so any range is one short call; from another, the blob is
streamed once more. A near end that forgets is not filled with them: one large file would push out everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock

from tvix.castore.blobs.interface import (
    BlobReader,
    BlobService,
    Buffer,
    BulkBlobService,
    Chunk,
    CorruptBlob,
    StoreUnavailable,
)
from tvix.castore.chunk_list import ChunkMap
from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.pack.format import DiskFull, StoreFailed

_RUN_BYTES = 1 << 20
_RECENT_BYTES = 2 << 20


class CorruptRange(CorruptBlob):
    """A range that was fetched again isn't what it was when the whole blob was verified."""

    identifier = "castore.corrupt-range"
    message = "blob {digest} from {origin} has other bytes at {offset} than when it was verified: refused"


class VerifiedRanges:
    """A `BlobReader`. `chunks` is trusted, `far` is not; chunks are kept in `near`, as blobs of their own, unless it forgets.

    `seen` is told of each chunk that has come.
    """

    def __init__(
        self,
        digest: Digest,
        chunks: Sequence[Chunk],
        near: BlobService,
        far: BlobService,
        far_name: str,
        seen: Callable[[int, Buffer], None] | None = None,
    ) -> None:
        self._digest = digest
        self._map = ChunkMap(chunks)
        self._near = near
        self._far = far
        self._far_name = far_name
        self._far_reader: BlobReader | None = None
        self._far_has_chunks = True
        self._seen = seen
        self._far_verifies: bool = getattr(far, "verifies", False)
        self._keeps = not getattr(near, "forgets", True)
        self._recent: dict[int, Buffer] = {}  # a chunk is read in several pieces
        self._recent_bytes = 0
        self._lock = Lock()

    @property
    def size(self) -> int:
        return self._map.size

    def read_at(self, offset: int, length: int) -> Buffer:
        """See `BlobReader`. Raises `CorruptBlob`, `StoreUnavailable`."""
        pieces = list(self._map.pieces(offset, length))
        found = self._chunks([number for number, _offset, _length in pieces])
        parts = [memoryview(found[number])[start : start + size] for number, start, size in pieces]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """See `BlobReader`."""
        with self._lock:
            if self._far_reader is not None:
                self._far_reader.close()
                self._far_reader = None

    def _chunks(self, numbers: list[int]) -> dict[int, Buffer]:
        """Chunks by number: near, or in runs of neighbours from far."""
        chunks = self._map.chunks
        with self._lock:
            found = {number: self._recent[number] for number in numbers if number in self._recent}
        wanted = [number for number in numbers if number not in found]
        for number, (_digest, near) in zip(wanted, self._near.read_many([chunks[number].digest for number in wanted]), strict=True):
            if near is not None:
                found[number] = near
        run: list[int] = []
        run_bytes = 0
        for number in wanted:
            if number in found:
                continue
            if run and (number != run[-1] + 1 or run_bytes >= _RUN_BYTES):
                found.update(self._fetch(run))
                run, run_bytes = [], 0
            run.append(number)
            run_bytes += chunks[number].size
        if run:
            found.update(self._fetch(run))
        for number in numbers:
            if len(found[number]) != chunks[number].size:
                raise CorruptRange(digest=print_digest(self._digest), origin=self._far_name, offset=self._map.offset(number))
            if self._seen is not None:
                self._seen(number, found[number])
        return found

    def _remember(self, number: int, contents: Buffer) -> None:
        with self._lock:
            self._recent_bytes += len(contents) - len(self._recent.pop(number, b""))
            self._recent[number] = contents
            while self._recent_bytes > _RECENT_BYTES and len(self._recent) > 1:
                self._recent_bytes -= len(self._recent.pop(next(iter(self._recent))))

    def _fetch(self, run: list[int]) -> dict[int, Buffer]:
        fetched = self._fetch_chunks(run) if self._far_has_chunks else None
        if fetched is None:
            self._far_has_chunks = False
            fetched = self._fetch_stretch(run)
        for number, contents in fetched.items():
            if self._keeps:
                with suppress(DiskFull, StoreFailed):  # it can be read without being kept
                    self._keep(self._map.chunks[number].digest, contents)
            self._remember(number, contents)
        return fetched

    def _keep(self, digest: Digest, contents: Buffer) -> None:
        """As the chunk that it is: what near cuts anew would not be found by the list."""
        if isinstance(self._near, BulkBlobService):
            self._near.put_many(((digest, bytes(contents)),))
        else:
            self._near.put(contents)

    def _fetch_chunks(self, run: list[int]) -> dict[int, Buffer] | None:
        """As blobs of their own; None where far doesn't have them so, or has something else by their names."""
        chunks = self._map.chunks
        fetched: dict[int, Buffer] = {}
        try:
            for number, (_digest, contents) in zip(
                run, self._far.read_many([chunks[number].digest for number in run]), strict=True
            ):
                if contents is None or not (self._far_verifies or digest_of(contents) == chunks[number].digest):
                    return None
                fetched[number] = contents
        except CorruptBlob:
            return None
        return fetched

    def _fetch_stretch(self, run: list[int]) -> dict[int, Buffer]:
        """Out of the blob, which far is asked for again."""
        chunks = self._map.chunks
        start = self._map.offset(run[0])
        size = sum(chunks[number].size for number in run)
        view = memoryview(self._from_far(start, size))
        fetched: dict[int, Buffer] = {}
        at = 0
        for number in run:
            chunk = chunks[number]
            contents = view[at : at + chunk.size]
            at += chunk.size
            actual = digest_of(contents)
            if actual != chunk.digest:
                raise CorruptRange(digest=print_digest(self._digest), origin=self._far_name, offset=start + at - chunk.size)
            fetched[number] = bytes(contents)
        return fetched

    def _from_far(self, offset: int, size: int) -> bytes:
        with self._lock:
            if self._far_reader is None:
                self._far_reader = self._far.open(self._digest)
            reader = self._far_reader
        if reader is None:
            raise StoreUnavailable(origin=self._far_name, reason=f"it no longer has blob {print_digest(self._digest)}")
        parts: list[Buffer] = []
        while size:
            part = reader.read_at(offset, size)
            if not part:
                raise CorruptRange(digest=print_digest(self._digest), origin=self._far_name, offset=offset)
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)
