"""Small blobs on their way to a store server, many at a time.

A server answers once a blob is durable, which takes it longer than everything else; servers of ours make many durable at once if
they come at once. So uploads are waited for when something depends on them: a question for one of them, what refers to blobs, a
sync.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from threading import Condition

from tvix.castore.blobs.interface import CorruptBlob
from tvix.castore.digests import Digest, print_digest
from tvix.castore.grpc_channel import BLOBS, Channel
from tvix.castore.grpc_import import Foreign
from tvix.castore.grpc_messages import decode_digest

_BYTES_MAX = 16 << 20
_COUNT_MAX = 64


def check_stored(digest: Digest, answer: bytes, origin: str) -> None:
    """Raises `CorruptBlob` where a server that was sent one blob says that it has stored another."""
    actual = decode_digest(answer, "PutBlobResponse")
    if actual != digest:
        raise CorruptBlob(digest=print_digest(digest), origin=origin, actual=print_digest(actual))


class Uploads:
    """The uploads of one channel, at most 64 and 16 MiB at a time. One that fails is repeated by whoever waits next, who is told if
    it fails again; then it is forgotten."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._condition = Condition()
        self._flying: dict[Digest, bytes] = {}
        self._bytes = 0
        self._failed: deque[tuple[Digest, bytes]] = deque()

    def put(self, digest: Digest, frame: bytes) -> None:
        """Send a blob as soon as there is room. Raises what earlier uploads failed with."""
        self._repeat()
        size = len(frame)
        with self._condition:
            self._condition.wait_for(
                lambda: not self._flying or (len(self._flying) < _COUNT_MAX and self._bytes + size <= _BYTES_MAX)
            )
            if digest in self._flying:
                return
            self._flying[digest] = frame
            self._bytes += size
        self._channel.start_unary(BLOBS, "Put", frame).add_done_callback(lambda future: self._landed(digest, future))

    def flush(self) -> None:
        """Return when everything put so far is durable. Raises what an upload failed with."""
        with self._condition:
            self._condition.wait_for(lambda: not self._flying)
        self._repeat()

    def flush_any(self, digests: Collection[Digest]) -> None:
        """Flush where one of `digests` is still on its way."""
        if (self._flying or self._failed) and not self._pending().isdisjoint(digests):
            self.flush()

    def _pending(self) -> set[Digest]:
        with self._condition:
            return {*self._flying, *(digest for digest, _frame in self._failed)}

    def _landed(self, digest: Digest, future: Foreign) -> None:
        """Runs on a thread of grpc's."""
        try:
            good = decode_digest(future.result(), "PutBlobResponse") == digest
        except Exception:  # whoever waits sends it again, and has the error then
            good = False
        with self._condition:
            frame = self._flying.pop(digest)
            self._bytes -= len(frame)
            if not good:
                self._failed.append((digest, frame))
            self._condition.notify_all()

    def _repeat(self) -> None:
        while self._failed:
            try:
                digest, frame = self._failed.popleft()
            except IndexError:
                return
            self._send(digest, frame)

    def _send(self, digest: Digest, frame: bytes) -> None:
        check_stored(digest, self._channel.unary(BLOBS, "Put", frame) or b"", self._channel.origin)
