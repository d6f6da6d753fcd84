"""Blobs in a store server that speaks the published protocol, under either of its names."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence

from tvix.castore.blobs.grpc_reader import Proven, StreamingReader
from tvix.castore.blobs.grpc_stream import BlobStream
from tvix.castore.blobs.grpc_uploads import Uploads
from tvix.castore.blobs.grpc_writer import GrpcBlobWriter
from tvix.castore.blobs.interface import BlobReader, Buffer, Chunk, CorruptBlob
from tvix.castore.blobs.memory import BytesReader
from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.grpc_channel import BLOBS, Channel
from tvix.castore.grpc_errors import Absent
from tvix.castore.grpc_messages import FRAME_BYTES, decode_chunks, encode_digest, encode_digest_and_flag, encode_frame

_SMALL_BYTES = 1 << 20
_READS_IN_FLIGHT = 32


class GrpcBlobService:
    """A `BlobService`. Blobs up to 1 MiB are read whole, in one round trip; larger ones are streamed (`StreamingReader`)."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._proven: dict[Digest, Proven] = {}
        self._uploads = Uploads(channel)
        channel.before_references.append(self._uploads.flush)

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `BlobService`: one call each, many at a time."""
        wanted = list(dict.fromkeys(digests))
        self._uploads.flush_any(wanted)
        answers = self._channel.unary_many(BLOBS, "Stat", [encode_digest(digest) for digest in wanted])
        return {digest for digest, answer in zip(wanted, answers, strict=True) if answer is None}

    def open(self, digest: Digest) -> BlobReader | None:
        """See `BlobService`. A blob up to 1 MiB has been read and checked when this returns."""
        self._uploads.flush_any((digest,))
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
        self._uploads.flush_any((digest,))
        answer = self._channel.unary(BLOBS, "Stat", encode_digest_and_flag(digest, True))
        return None if answer is None else decode_chunks(answer)

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        """See `BlobService`: one call each, many at a time."""
        flying: deque[tuple[Digest, BlobStream]] = deque()
        try:
            for digest in digests:
                self._uploads.flush_any((digest,))
                flying.append((digest, BlobStream(self._channel, digest)))
                if len(flying) >= _READS_IN_FLIGHT:
                    yield self._whole(*flying.popleft())
            while flying:
                yield self._whole(*flying.popleft())
        finally:
            for _digest, stream in flying:
                stream.close()

    def put(self, contents: Buffer) -> Digest:
        """See `BlobService`. Errors may come with a later call, `sync` at the latest."""
        if len(contents) > FRAME_BYTES:
            writer = self.writer()
            writer.write(contents)
            return writer.close()
        digest = digest_of(contents)
        self._uploads.put(digest, encode_frame(contents))
        return digest

    def writer(self) -> GrpcBlobWriter:
        """See `BlobService`. Errors with blobs up to 1 MiB may come with a later call, `sync` at the latest."""
        return GrpcBlobWriter(self._channel, self._uploads)

    def sync(self) -> None:
        """See `BlobService`. The server has made durable what it has answered for."""
        self._uploads.flush()

    def close(self) -> None:
        """Sync, and end the channel."""
        self._uploads.flush()
        self._channel.close()

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
