"""Writing one blob to a store server as its contents come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import Condition

from blake3 import blake3

from tvix.castore.blobs.grpc_uploads import Uploads, check_stored
from tvix.castore.blobs.interface import Buffer
from tvix.castore.digests import Digest
from tvix.castore.grpc_calls import Sending
from tvix.castore.grpc_channel import BLOBS, Channel
from tvix.castore.grpc_errors import failure
from tvix.castore.grpc_import import Foreign, import_grpc
from tvix.castore.grpc_messages import FRAME_BYTES, encode_frame

_FRAMES_AHEAD = 4


class GrpcBlobWriter:
    """A `BlobWriter`. Up to 1 MiB goes to `uploads` when it is closed; more is sent on the way, and durable when it is closed."""

    def __init__(self, channel: Channel, uploads: Uploads) -> None:
        self._channel = channel
        self._uploads = uploads
        self._hasher = blake3()
        self._pending = bytearray()
        self._feed: _Feed | None = None
        self._sending: Sending | None = None
        self._digest: Digest | None = None
        self._open = True

    def write(self, data: Buffer) -> None:
        """See `BlobWriter`. Raises `StoreUnavailable`, `StoreFull` and their like."""
        if not self._open:
            raise ValueError("write to a blob that is closed")
        self._hasher.update(data)
        view = memoryview(data)
        while len(self._pending) + len(view) > FRAME_BYTES - (self._feed is not None):  # what may be all is kept until `close`
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
            last = encode_frame(self._pending)
            if self._feed is None or self._sending is None:
                self._uploads.put(digest, last)
            else:
                check_stored(digest, self._finish(self._feed, self._sending, last), self._channel.origin)
            self._digest = digest
        return self._digest

    def abort(self) -> None:
        """See `BlobWriter`."""
        self._open = False
        self._pending.clear()
        if self._sending is not None and self._feed is not None:
            with self._sending:
                self._sending.cancel()
            self._feed.end()
            self._sending = self._feed = None

    def _send(self, data: Buffer) -> None:
        if self._feed is None:
            # A short question first: it waits for a server that is away, and finds out what the server calls its services.
            self._channel.unary(BLOBS, "Stat", b"\x0a\x20" + bytes(32))
            self._feed = _Feed()
            self._sending = self._channel.start_send(BLOBS, "Put", self._feed)
            self._sending.call.add_done_callback(self._feed.kill)
        if not self._feed.push(encode_frame(data)):
            self._fail()

    def _finish(self, feed: _Feed, sending: Sending, last: bytes) -> bytes:
        try:
            with sending:
                feed.push(last)
                feed.end()
                return sending.answer()
        except import_grpc().RpcError as error:
            raise failure(self._channel.origin, "Put", error, self._channel.deadline) from None
        finally:
            self._sending = self._feed = None

    def _fail(self) -> None:
        """The call ended before everything was sent: say why."""
        sending = self._sending
        assert sending is not None
        self._open = False
        try:
            with sending:
                sending.answer()
        except import_grpc().RpcError as error:
            raise failure(self._channel.origin, "Put", error, self._channel.deadline) from None
        raise AssertionError("a call that was answered takes no more messages")


class _Feed:
    """Messages handed from a writer to the thread that sends them, a few ahead."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._messages: deque[bytes] = deque()
        self._ended = False
        self._dead = False

    def push(self, message: bytes) -> bool:
        """Hand one over, waiting for room; False where nobody takes it any more."""
        with self._condition:
            self._condition.wait_for(lambda: len(self._messages) < _FRAMES_AHEAD or self._dead)
            self._messages.append(message)
            self._condition.notify_all()
            return not self._dead

    def end(self) -> None:
        """No more will come."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def kill(self, _call: Foreign) -> None:
        """No more will be taken."""
        with self._condition:
            self._dead = True
            self._messages.clear()
            self._condition.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._messages or self._ended or self._dead)
                if self._dead or not self._messages:
                    return
                message = self._messages.popleft()
                self._condition.notify_all()
            yield message
