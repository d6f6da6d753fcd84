"""Blobs in a store server: one of ours, with few round trips, or any that speaks the published protocol."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from threading import Lock

from tvix.castore.blobs.interface import BlobReader, BlobWriter, Buffer, Chunk, CorruptBlob
from tvix.castore.blobs.memory import BytesReader
from tvix.castore.blobs.remote_reader import Proven, StreamingReader
from tvix.castore.blobs.remote_stream import BlobStream
from tvix.castore.blobs.remote_uploads import BatchUploads, Uploads, uploads_over
from tvix.castore.blobs.remote_writer import ChunkingWriter, StreamingWriter
from tvix.castore.chunking import single_bytes_max
from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.grpc_messages import decode_chunks, encode_digest, encode_digest_and_flag
from tvix.castore.remote_channel import BLOBS, Channel
from tvix.castore.remote_errors import Absent
from tvix.castore.transfer.fetch_many import TooLargeForOne, fetch_many
from tvix.castore.transfer.questions import ask_missing

_SMALL_BYTES = 1 << 20
_FETCH_MANY = 1024


class RemoteBlobService:
    """A `BlobService` and `BulkBlobService`. Blobs up to 1 MiB are read whole, in one round trip; larger ones are streamed
    (`StreamingReader`), which is as fast by the published protocol as it gets."""

    verifies = True
    """What is handed out has been held to its digest: who keeps it needn't hash it again."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._proven: dict[Digest, Proven] = {}
        self._uploads: Uploads | None = None
        self._uploads_lock = Lock()
        channel.before_references.append(self.sync)

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `BlobService`."""
        wanted = list(dict.fromkeys(digests))
        self._flush_any(wanted)
        if len(wanted) > 1 and self._channel.offers("missing"):
            return ask_missing(self._channel, wanted)
        answers = self._channel.unary_many(BLOBS, "Stat", [encode_digest(digest) for digest in wanted])
        return {digest for digest, answer in zip(wanted, answers, strict=True) if answer is None}

    def open(self, digest: Digest) -> BlobReader | None:
        """See `BlobService`. A blob up to 1 MiB has been read and checked when this returns."""
        self._flush_any((digest,))
        stream = BlobStream(self._channel, digest)
        begun: list[Buffer] = []
        got = 0
        try:
            while got <= _SMALL_BYTES:
                data = stream.next()
                if data is None:
                    return BytesReader(self._checked(digest, begun))
                begun.append(data)
                got += len(data)
        except Absent:
            return None
        return StreamingReader(self._channel, digest, stream, begun, self.chunks, self._proven)

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """See `BlobService`. What the server says; nothing proves it."""
        self._flush_any((digest,))
        answer = self._channel.unary(BLOBS, "Stat", encode_digest_and_flag(digest, True))
        return None if answer is None else decode_chunks(answer)

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        """See `BlobService`: one call for each thousand, or one call each, many at a time."""
        rest = iter(digests)
        while batch := list(islice(rest, _FETCH_MANY)):
            self._flush_any(batch)
            done = 0
            if len(batch) > 1 and self._channel.extended:
                try:
                    for contents in fetch_many(self._channel, batch):
                        yield batch[done], contents
                        done += 1
                except TooLargeForOne:
                    pass
            yield from self._read_singly(batch[done:])

    def put(self, contents: Buffer) -> Digest:
        """See `BlobService`. Errors may come with a later call, `sync` at the latest."""
        if len(contents) > single_bytes_max():
            writer = self.writer()
            writer.write(contents)
            return writer.close()
        digest = digest_of(contents)
        self._sending().put(digest, bytes(contents))
        return digest

    def put_many(self, blobs: Iterable[tuple[Digest, bytes]]) -> None:
        """See `BulkBlobService`. What the server has isn't sent. Errors may come with a later call, `sync` at the latest."""
        uploads = self._sending()
        if isinstance(uploads, BatchUploads):
            for digest, contents in blobs:
                uploads.put(digest, contents)
            return
        held = dict(blobs)
        missing = self.missing(held) if held else ()
        for digest, contents in held.items():
            if digest in missing:
                uploads.put(digest, contents)

    @property
    def single_bytes_max(self) -> int:
        """See `BulkBlobService`: as in other stores, so that all cut alike."""
        return single_bytes_max()

    def writer(self) -> BlobWriter:
        """See `BlobService`. Errors with small blobs may come with a later call, `sync` at the latest.

        To a distant server a large blob goes as chunks, of which it gets those that it lacks; one on this machine cuts for itself,
        since there bytes cost less than questions.
        """
        uploads = self._sending()
        if self._channel.distant and isinstance(uploads, BatchUploads) and self._channel.offers("put-chunked"):
            return ChunkingWriter(self._channel, uploads)
        return StreamingWriter(self._channel, uploads)

    def sync(self) -> None:
        """See `BlobService`. The server has made durable what it has answered for."""
        if self._uploads is not None:
            self._uploads.flush()

    def close(self) -> None:
        """Sync, and end the channel."""
        try:
            self.sync()
        finally:
            self._channel.close()

    def _sending(self) -> Uploads:
        if self._uploads is None:
            with self._uploads_lock:
                if self._uploads is None:
                    self._uploads = uploads_over(self._channel)
        return self._uploads

    def _flush_any(self, digests: Collection[Digest]) -> None:
        if self._uploads is not None:
            self._uploads.flush_any(digests)

    def _read_singly(self, digests: Sequence[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        flying: deque[tuple[Digest, BlobStream]] = deque()
        try:
            for digest in digests:
                flying.append((digest, BlobStream(self._channel, digest)))
                if len(flying) >= self._channel.streams_in_flight:
                    yield self._whole(*flying.popleft())
            while flying:
                yield self._whole(*flying.popleft())
        finally:
            for _digest, stream in flying:
                stream.close()

    def _whole(self, digest: Digest, stream: BlobStream) -> tuple[Digest, Buffer | None]:
        pieces: list[Buffer] = []
        try:
            while (data := stream.next()) is not None:
                pieces.append(data)
        except Absent:
            return digest, None
        finally:
            stream.close()
        return digest, self._checked(digest, pieces)

    def _checked(self, digest: Digest, pieces: Sequence[Buffer]) -> Buffer:
        contents = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        actual = digest_of(contents)
        if actual != digest:
            raise CorruptBlob(digest=print_digest(digest), origin=self._channel.origin, actual=print_digest(actual))
        return contents
