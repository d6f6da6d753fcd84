"""Reading one large blob from a store server, in bounded memory.

The published protocol sends a whole blob, or a whole chunk; there are no ranges, and a chunk list proves nothing since the blob's
digest doesn't cover it. So there are two ways to read:

- From the beginning in order, which is one stream; going back a little costs nothing. Its last bytes are kept back until the whole
  has hashed to the blob's digest, so whoever reads to the end has read what the digest names or has had an error. Whoever stops
  before has read bytes that nothing vouches for; a near store in front (`tvix.castore.blobs.near_far`) reads everything before it
  gives anything.
- In any other order, which first costs one pass over the whole blob. It proves the chunk list, and chunks are fetched by name
  then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple

from tvix.castore.blobs.interface import Buffer, Chunk, CorruptBlob
from tvix.castore.blobs.remote_stream import KEPT_BYTES, BlobStream, Pass
from tvix.castore.chunk_list import WrongChunkList
from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.grpc_messages import FRAME_BYTES
from tvix.castore.remote_channel import Channel

_PROVEN_MAX = 16


class Proven(NamedTuple):
    """What a blob consists of, learned from its contents: where each piece starts, what it hashes to, how long the whole is.

    Pieces that are `named` are chunks which the server has by their digests.
    """

    starts: list[int]
    digests: list[Digest]
    size: int
    named: bool


class StreamingReader:
    """A `BlobReader`; see the module. `stream` has given `begun` already; `list_chunks` asks the server for the blob's chunks.

    What was proven by one reader spares others the pass: `proven` is shared between the readers of a service.
    """

    def __init__(
        self,
        channel: Channel,
        digest: Digest,
        stream: BlobStream,
        begun: Sequence[Buffer],
        list_chunks: Callable[[Digest], Sequence[Chunk] | None],
        proven: dict[Digest, Proven],
    ) -> None:
        self._channel = channel
        self._digest = digest
        self._list_chunks = list_chunks
        self._proven = proven
        self._lock = Lock()
        self._chunks: Sequence[Chunk] | None = None
        self._size: int | None = None
        self._said_size: int | None = None
        self._pass: Pass | None = Pass(digest, channel.origin, stream, begun)
        self._pieces: _Pieces | None = None

    @property
    def size(self) -> int:
        """As the chunk list says until the whole has been read; a list that lied is an error then."""
        with self._lock:
            if self._size is None and self._said_size is None:
                chunks = self._ask_chunks()
                if chunks:
                    self._said_size = sum(chunk.size for chunk in chunks)
                else:
                    self._prove()
            size = self._said_size if self._size is None else self._size
            assert size is not None
            return size

    def read_at(self, offset: int, length: int) -> Buffer:
        """See `BlobReader`. Raises `CorruptBlob`, `WrongChunkList`, `StoreUnavailable`."""
        with self._lock:
            if self._pass is not None and self._pass.reaches(offset):
                data = self._pass.take(offset, length)
                if self._pass.ended:
                    self._finish(self._pass.position)
                return data
            if self._size is not None and offset >= self._size:
                return b""
            return self._prove().read_at(offset, length)

    def close(self) -> None:
        """See `BlobReader`."""
        with self._lock:
            if self._pass is not None:
                self._pass.close()
            if self._pieces is not None:
                self._pieces.close()

    def __del__(self) -> None:
        """A reader that is forgotten ends its stream."""
        if getattr(self, "_pass", None) is not None:
            self._pass.close()  # type: ignore[union-attr]

    def _finish(self, size: int) -> None:
        self._size = size
        if self._said_size not in (None, size):
            reason = f"add up to {self._said_size} bytes where the blob has {size}"
            raise WrongChunkList(origin=self._channel.origin, digest=print_digest(self._digest), reason=reason)

    def _ask_chunks(self) -> Sequence[Chunk]:
        if self._chunks is None:
            self._chunks = self._list_chunks(self._digest) or ()
        return self._chunks

    def _prove(self) -> _Pieces:
        if self._pieces is None:
            if self._pass is not None:
                self._pass.close()
                self._pass = None
            proven = self._proven.get(self._digest)
            if proven is None:
                proven = self._proven[self._digest] = _prove(self._channel, self._digest, self._ask_chunks())
                while len(self._proven) > _PROVEN_MAX:
                    self._proven.pop(next(iter(self._proven)), None)
            self._finish(proven.size)
            self._pieces = _Pieces(self._channel, self._digest, proven)
        return self._pieces


def _prove(channel: Channel, digest: Digest, chunks: Sequence[Chunk]) -> Proven:
    """Read the whole blob, and find that it consists of `chunks`; or cut it evenly where there are none."""

    def refuse(reason: str) -> None:
        raise WrongChunkList(origin=channel.origin, digest=print_digest(digest), reason=reason)

    whole = Pass(digest, channel.origin, BlobStream(channel, digest))
    starts: list[int] = []
    digests: list[Digest] = []
    size = 0
    try:
        for chunk in chunks:
            data = whole.take(size, chunk.size)
            starts.append(size)
            digests.append(digest_of(data))
            size += len(data)
            if digests[-1] != chunk.digest:
                refuse("has a chunk that the blob doesn't have at that place")
        if not chunks:
            while data := whole.take(size, FRAME_BYTES):
                starts.append(size)
                digests.append(digest_of(data))
                size += len(data)
        elif whole.take(size, 1):
            refuse(f"ends after {size} bytes where the blob goes on")
    finally:
        whole.close()
    return Proven(starts, digests, size, bool(chunks))


class _Pieces:
    """Random access to a blob that was read once to learn what its pieces hash to."""

    def __init__(self, channel: Channel, digest: Digest, proven: Proven) -> None:
        self._channel = channel
        self._digest = digest
        self._proven = proven
        self._last: tuple[int, Buffer] = (-1, b"")
        self._pass: Pass | None = None

    def read_at(self, offset: int, length: int) -> Buffer:
        """From one or more pieces, each checked."""
        out: list[Buffer] = []
        while length > 0 and offset < self._proven.size:
            number = bisect_right(self._proven.starts, offset) - 1
            inside = offset - self._proven.starts[number]
            data = memoryview(self._piece(number))[inside : inside + length]
            out.append(data)
            offset += len(data)
            length -= len(data)
        return out[0] if len(out) == 1 else b"".join(out)

    def close(self) -> None:
        if self._pass is not None:
            self._pass.close()
            self._pass = None

    def _piece(self, number: int) -> Buffer:
        if self._last[0] != number:
            starts, digests, size, named = self._proven
            start = starts[number]
            length = (starts[number + 1] if number + 1 < len(starts) else size) - start
            data = self._chunk(digests[number], length) if named else self._from_the_beginning(start, length)
            actual = digest_of(data)
            if actual != digests[number]:
                digest = print_digest(digests[number])
                raise CorruptBlob(digest=digest, origin=self._channel.origin, actual=print_digest(actual))
            self._last = number, data
        return self._last[1]

    def _chunk(self, digest: Digest, length: int) -> Buffer:
        whole = Pass(digest, self._channel.origin, BlobStream(self._channel, digest))
        try:
            return whole.take(0, length)
        finally:
            whole.close()

    def _from_the_beginning(self, start: int, length: int) -> Buffer:
        """A blob in one piece can only be read from its beginning: go on where the last read stopped, or start again."""
        if self._pass is None or start < self._pass.handed - KEPT_BYTES:
            self.close()
            self._pass = Pass(self._digest, self._channel.origin, BlobStream(self._channel, self._digest))
        while start > self._pass.handed:
            self._pass.take(self._pass.handed, min(start - self._pass.handed, FRAME_BYTES))
        return self._pass.take(start, length)
