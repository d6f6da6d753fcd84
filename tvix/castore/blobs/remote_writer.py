"""Writing one blob to a store server as its contents come."""

from __future__ import annotations

from blake3 import blake3

from tvix.castore.blobs.interface import Buffer, Chunk
from tvix.castore.blobs.remote_uploads import Uploads, check_name, check_stored
from tvix.castore.chunking import Chunker, single_bytes_max
from tvix.castore.digests import Digest, digest_of
from tvix.castore.grpc_messages import FRAME_BYTES, encode_frame
from tvix.castore.remote_calls import Sending
from tvix.castore.remote_channel import BLOBS, TRANSFER, Channel
from tvix.castore.remote_errors import CallFailed, StoreFailed
from tvix.castore.transfer.requests import decode_put_blobs_response, encode_put_chunked


class StreamingWriter:
    """A `BlobWriter`. Up to 1 MiB goes to `uploads` when it is closed; more is sent on the way, and durable when it is closed."""

    def __init__(self, channel: Channel, uploads: Uploads) -> None:
        self._channel = channel
        self._uploads = uploads
        self._hasher = blake3()
        self._pending = bytearray()
        self._sending: Sending | None = None
        self._digest: Digest | None = None
        self._open = True

    def write(self, data: Buffer) -> None:
        """See `BlobWriter`. Raises `StoreUnavailable`, `StoreFull` and their like."""
        if not self._open:
            raise ValueError("write to a blob that is closed")
        self._hasher.update(data)
        view = memoryview(data)
        while len(self._pending) + len(view) > FRAME_BYTES - (self._sending is not None):  # what may be all is kept until `close`
            room = FRAME_BYTES - len(self._pending)
            self._send(b"".join((self._pending, view[:room])) if self._pending else view[:room])
            self._pending.clear()
            view = view[room:]
        self._pending += view

    def close(self) -> Digest:
        """See `BlobWriter`."""
        if self._digest is None:
            if not self._open:
                raise ValueError("close of a blob that was aborted")
            self._open = False
            digest = Digest(self._hasher.digest())
            if self._sending is None:
                self._uploads.put(digest, bytes(self._pending))
            else:
                check_stored(digest, self._finish(self._sending), self._channel.origin)
            self._digest = digest
        return self._digest

    def abort(self) -> None:
        """See `BlobWriter`."""
        self._open = False
        self._pending.clear()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _send(self, data: Buffer) -> None:
        frame = encode_frame(data)
        try:
            if self._sending is None:
                # A short question first: it waits for a server that is away, and finds out what the server calls its services.
                self._channel.unary(BLOBS, "Stat", b"\x0a\x20" + bytes(32))
                self._sending = self._channel.start_send(BLOBS, "Put")
            self._sending.send(frame)
        except CallFailed as failed:
            self.abort()
            raise self._channel.failure("Put", failed) from None

    def _finish(self, sending: Sending) -> bytes:
        try:
            sending.send(encode_frame(self._pending))
            return bytes(sending.finish())
        except CallFailed as failed:
            raise self._channel.failure("Put", failed) from None
        finally:
            self._sending = None


class ChunkingWriter:
    """A `BlobWriter` that cuts what it gets and sends those chunks which the server lacks: of a new version of something, what
    changed. A small blob goes to `uploads` when it is closed; a large one is durable when it is closed."""

    def __init__(self, channel: Channel, uploads: Uploads) -> None:
        self._channel = channel
        self._uploads = uploads
        self._hasher = blake3()
        self._first: bytearray | None = bytearray()  # until it is too much for one piece
        self._chunker: Chunker | None = None
        self._chunks: list[Chunk] = []
        self._digest: Digest | None = None
        self._open = True

    def write(self, data: Buffer) -> None:
        """See `BlobWriter`. Raises `BlobTooLarge`, `StoreUnavailable`, `StoreFull` and their like."""
        if not self._open:
            raise ValueError("write to a blob that is closed")
        self._hasher.update(data)
        if self._first is not None:
            self._first += data
            if len(self._first) <= single_bytes_max():
                return
            data, self._first = bytes(self._first), None
        if self._chunker is None:
            self._chunker = Chunker()
        self._put(self._chunker.feed(data))

    def close(self) -> Digest:
        """See `BlobWriter`."""
        if self._digest is None:
            if not self._open:
                raise ValueError("close of a blob that was aborted")
            self._open = False
            digest = Digest(self._hasher.digest())
            if self._first is not None:
                self._uploads.put(digest, bytes(self._first))
            else:
                self._finish(digest)
            self._digest = digest
        return self._digest

    def abort(self) -> None:
        """See `BlobWriter`. Chunks that were sent stay, as blobs that nothing refers to."""
        self._open = False
        self._first = None
        self._chunker = None
        self._chunks = []

    def _finish(self, digest: Digest) -> None:
        assert self._chunker is not None
        self._put(self._chunker.finish())
        self._uploads.flush()
        answer = self._channel.unary(TRANSFER, "PutChunked", encode_put_chunked(digest, self._chunks), patient=True)
        stored = decode_put_blobs_response(answer or b"")
        if len(stored) != 1:
            raise StoreFailed(origin=self._channel.origin, method="PutChunked", reason="it doesn't say what it stored")
        check_name(digest, stored[0], self._channel.origin)

    def _put(self, pieces: list[Buffer]) -> None:
        for piece in pieces:
            contents = bytes(piece)
            digest = digest_of(contents)
            self._chunks.append(Chunk(digest, len(contents)))
            self._uploads.put(digest, contents)
