"""The contents of one blob as a store server sends them, and one pass over them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from blake3 import blake3

from tvix.castore.blobs.interface import Buffer, CorruptBlob, StoreUnavailable
from tvix.castore.digests import Digest, print_digest
from tvix.castore.grpc_messages import decode_frame, encode_digest
from tvix.castore.remote_calls import Incoming
from tvix.castore.remote_channel import BLOBS, Channel
from tvix.castore.remote_errors import StoreFailed

KEPT_BYTES = 4 << 20
"""How far back a pass can go."""

_EMPTY_MAX = 100


class BlobStream:
    """The contents of a blob in order. A connection that breaks is made anew, and what was read already is passed over."""

    def __init__(self, channel: Channel, digest: Digest) -> None:
        self._channel = channel
        self._request = encode_digest(digest)
        self._origin = channel.origin
        self._incoming = self._ask()
        self._position = 0
        self._empty = 0

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
            self._empty = 0 if data else self._empty + 1
            if self._empty > _EMPTY_MAX:
                self.close()
                raise StoreFailed(origin=self._origin, method="Read", reason="it sends message after message with nothing in them")
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


class Pass:
    """One pass over a blob, hashing. `position` is the offset of what the stream gives next, `handed` of what was never handed out;
    a little before that is kept."""

    def __init__(self, digest: Digest, origin: str, stream: BlobStream, begun: Sequence[Buffer] = ()) -> None:
        self._digest = digest
        self._origin = origin
        self._stream = stream
        self._hasher = blake3()
        self._kept: deque[Buffer] = deque()
        self._start = 0
        self.position = 0
        self.handed = 0
        self.ended = False
        for data in begun:
            self._add(data)

    def reaches(self, offset: int) -> bool:
        """Whether `offset` is kept, or comes next."""
        return self._start <= offset <= self.handed

    def take(self, offset: int, length: int) -> Buffer:
        """`length` bytes from an offset that is reached, fewer at the end. The end is not given before the whole is proven."""
        while not self.ended and self.position - offset <= length:
            data = self._stream.next()
            if data is None:
                self._check()
            else:
                self._add(data)
        out: list[Buffer] = []
        at = self._start
        for data in self._kept:
            if at + len(data) > offset and at < offset + length:
                out.append(memoryview(data)[max(offset - at, 0) : offset + length - at])
            at += len(data)
        while self._kept and self._start + len(self._kept[0]) + KEPT_BYTES < offset + length:
            self._start += len(self._kept.popleft())
        self.handed = max(self.handed, min(offset + length, self.position))
        return out[0] if len(out) == 1 else b"".join(out)

    def close(self) -> None:
        """Read no further."""
        self._stream.close()

    def _add(self, data: Buffer) -> None:
        if data:
            self._hasher.update(data)
            self._kept.append(data)
            self.position += len(data)

    def _check(self) -> None:
        actual = Digest(self._hasher.digest())
        if actual != self._digest:
            raise CorruptBlob(digest=print_digest(self._digest), origin=self._origin, actual=print_digest(actual))
        self.ended = True
