"""Small blobs on their way to a store server, many at a time.

A server answers once a blob is durable, which takes it longer than everything else; servers of ours make many durable at once if
they come at once. So uploads are waited for when something depends on them: a question for one of them, what refers to blobs, a
sync.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from threading import RLock
from typing import Protocol

from tvix.castore.blobs.interface import CorruptBlob, StoredBlob
from tvix.castore.digests import Digest, print_digest
from tvix.castore.grpc_messages import decode_digest, encode_frame
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.remote_calls import Pending
from tvix.castore.remote_channel import BLOBS, TRANSFER, Channel
from tvix.castore.remote_errors import StoreFailed
from tvix.castore.transfer.questions import missing_request, read_missing
from tvix.castore.transfer.requests import decode_put_blobs_response, encode_put_blobs

_BYTES_MAX = 16 << 20
_BATCH_BYTES = 4 << 20
_BATCH_BLOBS = 1024
_BATCHES_IN_FLIGHT = 3
_COMPRESSION_LEVEL = 3
_COMPRESSED_MIN = 128


def check_stored(digest: Digest, answer: bytes, origin: str) -> None:
    """Raises `CorruptBlob` where a server that was sent one blob says that it has stored another."""
    check_name(digest, decode_digest(answer, "PutBlobResponse"), origin)


def check_name(digest: Digest, actual: Digest, origin: str) -> None:
    """The same of a digest alone."""
    if actual != digest:
        raise CorruptBlob(digest=print_digest(digest), origin=origin, actual=print_digest(actual))


class Uploads(Protocol):
    """Blobs on their way. Those that fail are sent again by whoever waits next, who is told if they fail again; then they are
    forgotten. Safe to share between threads, which wait for each other."""

    def put(self, digest: Digest, contents: bytes) -> None:
        """Send a blob as soon as there is room. Raises what earlier uploads failed with."""

    def flush(self) -> None:
        """Return when everything put so far is durable. Raises what an upload failed with."""

    def flush_any(self, digests: Collection[Digest]) -> None:
        """Flush where one of `digests` is still on its way."""


class SingleUploads:
    """`Uploads` by the published protocol: a call for each blob."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = RLock()
        self._flying: deque[tuple[Digest, bytes, Pending | None]] = deque()
        self._digests: set[Digest] = set()
        self._bytes = 0

    def put(self, digest: Digest, contents: bytes) -> None:
        """See `Uploads`."""
        frame = encode_frame(contents)
        with self._lock:
            if digest in self._digests:
                return
            while self._flying and (len(self._flying) >= self._channel.in_flight or self._bytes + len(frame) > _BYTES_MAX):
                self._land()
            self._flying.append((digest, frame, self._channel.start_unary(BLOBS, "Put", frame)))
            self._digests.add(digest)
            self._bytes += len(frame)

    def flush(self) -> None:
        """See `Uploads`."""
        if self._flying:
            with self._lock:
                while self._flying:
                    self._land()

    def flush_any(self, digests: Collection[Digest]) -> None:
        """See `Uploads`."""
        if self._flying and not self._digests.isdisjoint(digests):
            self.flush()

    def _land(self) -> None:
        digest, frame, pending = self._flying.popleft()
        self._digests.discard(digest)
        self._bytes -= len(frame)
        answer = self._channel.landed(BLOBS, "Put", frame, pending)
        if answer is not None and _names_another(answer, digest):
            answer = self._channel.unary(BLOBS, "Put", frame)
        check_stored(digest, answer or b"", self._channel.origin)


def _names_another(answer: bytes, digest: Digest) -> bool:
    try:
        return decode_digest(answer, "PutBlobResponse") != digest
    except MalformedMessage:
        return True


_Batch = list[tuple[Digest, bytes]]


class BatchUploads:
    """`Uploads` by the extension: batches of up to 4 MiB, of which the server is asked first what it lacks.

    While one batch is on its way the next is asked about and the one after that collected. To a distant server blobs go compressed
    where that makes them smaller, and lie there so: nobody compresses them again.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = RLock()
        self._batch: _Batch = []
        self._batch_bytes = 0
        self._asked: deque[tuple[_Batch, bytes, Pending | None]] = deque()
        self._sent: deque[tuple[Sequence[Digest], bytes, Pending | None]] = deque()
        self._digests: set[Digest] = set()
        self._compress = _compressor() if channel.distant else None

    def put(self, digest: Digest, contents: bytes) -> None:
        """See `Uploads`."""
        with self._lock:
            if digest in self._digests:
                return
            if self._batch and self._batch_bytes + len(contents) > _BATCH_BYTES:
                self._ask()
            self._batch.append((digest, contents))
            self._digests.add(digest)
            self._batch_bytes += len(contents)
            if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_BLOBS:
                self._ask()

    def flush(self) -> None:
        """See `Uploads`."""
        if not self._digests:
            return
        with self._lock:
            try:
                self._ask()
                while self._asked:
                    self._send()
                while self._sent:
                    self._land()
            except BaseException:
                self._forget()
                raise

    def flush_any(self, digests: Collection[Digest]) -> None:
        """See `Uploads`."""
        if self._digests and not self._digests.isdisjoint(digests):
            self.flush()

    def _ask(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        while len(self._asked) >= _BATCHES_IN_FLIGHT - 1:
            self._send()
        request = missing_request([digest for digest, _contents in batch])
        self._asked.append((batch, request, self._channel.start_unary(TRANSFER, "Missing", request)))

    def _send(self) -> None:
        batch, request, pending = self._asked.popleft()
        digests = [digest for digest, _contents in batch]
        answer = self._channel.landed(TRANSFER, "Missing", request, pending)
        missing = read_missing(answer, digests)
        self._digests.difference_update(digests)
        wanted = [(digest, contents) for digest, contents in batch if digest in missing]
        if not wanted:
            return
        while len(self._sent) >= _BATCHES_IN_FLIGHT:
            self._land()
        message = encode_put_blobs([self._stored(contents) for _digest, contents in wanted])
        names = [digest for digest, _contents in wanted]
        self._digests.update(names)
        self._sent.append((names, message, self._channel.start_unary(TRANSFER, "PutBlobs", message)))

    def _land(self) -> None:
        names, message, pending = self._sent.popleft()
        self._digests.difference_update(names)
        answer = self._channel.landed(TRANSFER, "PutBlobs", message, pending)
        stored = decode_put_blobs_response(answer or b"")
        if len(stored) != len(names):
            reason = f"it answers with {len(stored)} digests to {len(names)} blobs"
            raise StoreFailed(origin=self._channel.origin, method="PutBlobs", reason=reason)
        for digest, actual in zip(names, stored, strict=True):
            check_name(digest, actual, self._channel.origin)

    def _forget(self) -> None:
        """After a failure: who has been told of it starts anew."""
        for _what, _message, pending in (*self._asked, *self._sent):
            if pending is not None:
                pending.cancel()
        self._asked.clear()
        self._sent.clear()
        self._batch, self._batch_bytes = [], 0
        self._digests.clear()

    def _stored(self, contents: bytes) -> StoredBlob:
        size = len(contents)
        if self._compress is not None and size >= _COMPRESSED_MIN:
            packed = self._compress(contents)
            if len(packed) < size - size // 8:
                return StoredBlob(size, packed)
        return StoredBlob(size, contents)


def uploads_over(channel: Channel) -> Uploads:
    """The best way that the server offers. Asks what it is, so it is to be called when something is to be sent."""
    return BatchUploads(channel) if channel.offers("put-blobs") and channel.offers("missing") else SingleUploads(channel)


def _compressor() -> Callable[[bytes], bytes] | None:
    """None where the library isn't there, as in small initrds: then bytes go as they are."""
    try:
        from zstandard import ZstdCompressor
    except ImportError:
        return None
    return ZstdCompressor(level=_COMPRESSION_LEVEL).compress
