"""Reading one large blob from a store server, in bounded memory.

The published protocol sends a whole blob, or a whole chunk; there are no ranges, and a chunk list proves nothing since the blob's
digest doesn't cover it. So there are two ways to read:

- From the beginning in order, which is one stream. Its last bytes are kept back until the whole has hashed to the blob's digest,
  so whoever reads to the end has read what the digest names or has had an error. Whoever stops before has read bytes that nothing
  vouches for; a near store in front (`tvix.castore.blobs.near_far`) reads everything before it gives anything.
- In any other order, which first costs one pass over the whole blob. It proves the chunk list, and chunks are fetched by name
  then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock

from blake3 import blake3

from tvix.castore.blobs.interface import Buffer, Chunk, CorruptBlob, StoreUnavailable
from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.grpc_channel import BLOBS, Channel, Incoming
from tvix.castore.grpc_messages import FRAME_BYTES, decode_frame, encode_digest


class WrongChunkList(CorruptBlob):
    """A server says of a blob that it consists of chunks which don't make it up."""

    identifier = "castore.wrong-chunk-list"
    message = "{origin} sent a list of chunks for blob {digest} which {reason}: refused"


class BlobStream:
    """The contents of a blob in order. A connection that breaks is made anew, and what was read already is passed over."""

    def __init__(self, channel: Channel, digest: Digest) -> None:
        self._channel = channel
        self._request = encode_digest(digest)
        self._incoming = self._ask()
        self._position = 0

    def next(self) -> Buffer | None:
        """The next piece, None at the end. Raises `Absent` where the blob is not there, `StoreUnavailable`."""
        skip = 0
        while True:
            try:
                message = self._incoming.next()
            except StoreUnavailable:
                if not self._incoming.broken:
                    raise
                self._incoming = self._ask()
                skip = self._position
                continue
            if message is None:
                return None
            data = decode_frame(message)
            if skip >= len(data):
                skip -= len(data)
                if data:
                    continue
            data = data[skip:]
            self._position += len(data)
            return data

    def close(self) -> None:
        """Take no more."""
        self._incoming.cancel()

    def _ask(self) -> Incoming:
        return self._channel.stream(BLOBS, "Read", self._request)


class StreamingReader:
    """A `BlobReader`; see the module. `stream` has given `begun` already; `list_chunks` asks the server for the blob's chunks."""

    def __init__(
        self,
        channel: Channel,
        digest: Digest,
        stream: BlobStream,
        begun: Sequence[Buffer],
        list_chunks: Callable[[Digest], Sequence[Chunk] | None],
    ) -> None:
        self._channel = channel
        self._digest = digest
        self._list_chunks = list_chunks
        self._lock = Lock()
        self._chunks: Sequence[Chunk] | None = None
        self._size: int | None = None
        self._said_size: int | None = None
        self._pass: _Pass | None = _Pass(digest, channel.origin, stream, begun)
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
            if self._pass is not None and offset == self._pass.base and self._pieces is None:
                data = self._pass.take(length)
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
            pieces = _Pieces(self._channel, self._digest, self._ask_chunks())
            self._finish(pieces.size)
            self._pieces = pieces
        return self._pieces


class _Pass:
    """One pass over a blob, hashing. `base` is the offset of what `take` gives next, `position` of what the stream gives next."""

    def __init__(self, digest: Digest, origin: str, stream: BlobStream, begun: Sequence[Buffer] = ()) -> None:
        self._digest = digest
        self._origin = origin
        self._stream = stream
        self._hasher = blake3()
        self._held: deque[Buffer] = deque()
        self.base = 0
        self.position = 0
        self.ended = False
        for data in begun:
            self._add(data)

    def take(self, length: int) -> Buffer:
        """The next `length` bytes, fewer at the end. The end is not given before the whole is proven."""
        while not self.ended and self.position - self.base <= length:
            data = self._stream.next()
            if data is None:
                self._check()
            else:
                self._add(data)
        out: list[Buffer] = []
        while length and self._held:
            data = self._held.popleft()
            if len(data) > length:
                self._held.appendleft(memoryview(data)[length:])
                data = memoryview(data)[:length]
            out.append(data)
            length -= len(data)
            self.base += len(data)
        return out[0] if len(out) == 1 else b"".join(out)

    def close(self) -> None:
        self._stream.close()

    def _add(self, data: Buffer) -> None:
        if data:
            self._hasher.update(data)
            self._held.append(data)
            self.position += len(data)

    def _check(self) -> None:
        actual = Digest(self._hasher.digest())
        if actual != self._digest:
            raise CorruptBlob(digest=print_digest(self._digest), origin=self._origin, actual=print_digest(actual))
        self.ended = True


class _Pieces:
    """Random access to a blob that was read once to learn what its pieces hash to."""

    def __init__(self, channel: Channel, digest: Digest, chunks: Sequence[Chunk]) -> None:
        self._channel = channel
        self._digest = digest
        self._named = bool(chunks)  # a piece that is a chunk can be asked for by name
        self._starts: list[int] = []
        self._digests: list[Digest] = []
        self.size = 0
        self._kept: tuple[int, Buffer] = (-1, b"")
        self._again: tuple[int, _Pass | None] = (0, None)
        self._learn(chunks)

    def read_at(self, offset: int, length: int) -> Buffer:
        """From one or more pieces, each checked."""
        out: list[Buffer] = []
        while length > 0 and offset < self.size:
            number = bisect_right(self._starts, offset) - 1
            inside = offset - self._starts[number]
            data = memoryview(self._piece(number))[inside : inside + length]
            out.append(data)
            offset += len(data)
            length -= len(data)
        return out[0] if len(out) == 1 else b"".join(out)

    def close(self) -> None:
        if self._again[1] is not None:
            self._again[1].close()

    def _learn(self, chunks: Sequence[Chunk]) -> None:
        whole = _Pass(self._digest, self._channel.origin, BlobStream(self._channel, self._digest))
        try:
            for chunk in chunks:
                data = whole.take(chunk.size)
                self._starts.append(self.size)
                self._digests.append(digest_of(data))
                self.size += len(data)
                if self._digests[-1] != chunk.digest:
                    self._refuse("has a chunk that the blob doesn't have at that place")
            if not chunks:
                while data := whole.take(FRAME_BYTES):
                    self._starts.append(self.size)
                    self._digests.append(digest_of(data))
                    self.size += len(data)
            elif whole.take(1):
                self._refuse(f"ends after {self.size} bytes where the blob goes on")
        finally:
            whole.close()

    def _refuse(self, reason: str) -> None:
        raise WrongChunkList(origin=self._channel.origin, digest=print_digest(self._digest), reason=reason)

    def _piece(self, number: int) -> Buffer:
        if self._kept[0] != number:
            end = self._starts[number + 1] if number + 1 < len(self._starts) else self.size
            length = end - self._starts[number]
            data = self._chunk(number, length) if self._named else self._from_the_beginning(number, length)
            actual = digest_of(data)
            if actual != self._digests[number]:
                digest = print_digest(self._digests[number])
                raise CorruptBlob(digest=digest, origin=self._channel.origin, actual=print_digest(actual))
            self._kept = number, data
        return self._kept[1]

    def _chunk(self, number: int, length: int) -> Buffer:
        stream = BlobStream(self._channel, self._digests[number])
        try:
            whole = _Pass(self._digests[number], self._channel.origin, stream)
            return whole.take(length)
        finally:
            stream.close()

    def _from_the_beginning(self, number: int, length: int) -> Buffer:
        """A blob in one piece can only be read from its beginning: go on where the last read stopped, or start again."""
        next_number, whole = self._again
        if whole is None or number < next_number:
            self.close()
            next_number, whole = 0, _Pass(self._digest, self._channel.origin, BlobStream(self._channel, self._digest))
        while next_number < number:
            whole.take(FRAME_BYTES)
            next_number += 1
        self._again = number + 1, whole
        return whole.take(length)
