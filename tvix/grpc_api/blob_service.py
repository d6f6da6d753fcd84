"""The published BlobService over any blob service."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tvix.castore.blobs.interface import BlobReader, BlobService, CorruptBlob
from tvix.castore.digests import Digest, print_digest
from tvix.castore.grpc_messages import (
    FRAME_BYTES,
    decode_digest,
    decode_frame,
    digest_and_flag,
    encode_chunks,
    encode_digest,
    encode_frame,
)
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.methods import STREAM_IN, STREAM_OUT, UNARY, Method
from tvix.grpc_api.status import NotHere

_SERVICE = "castore.v1.BlobService"


class BlobMethods:
    """`Stat`, `Read` and `Put` as functions from encoded requests to encoded answers; `sync` makes blobs durable."""

    def __init__(self, blobs: BlobService, sync: Callable[[], None]) -> None:
        self._blobs = blobs
        self._sync = sync

    def methods(self) -> Iterator[Method]:
        """Their rows of the table."""
        yield Method(_SERVICE, "Stat", UNARY, self.stat)
        yield Method(_SERVICE, "Read", STREAM_OUT, self.read)
        yield Method(_SERVICE, "Put", STREAM_IN, self.put, needs_write=True)

    def stat(self, request: bytes, _caller: Caller) -> bytes:
        """Raises `NotHere`, `InvalidDigest`."""
        digest, wants_chunks = digest_and_flag(request, "StatBlobRequest")
        if not wants_chunks:
            if self._blobs.missing((digest,)):
                raise NotHere(kind="blob", name=print_digest(digest))
            return b""
        chunks = self._blobs.chunks(digest)
        if chunks is None:
            raise NotHere(kind="blob", name=print_digest(digest))
        return encode_chunks(chunks)

    def read(self, request: bytes, _caller: Caller) -> Iterator[bytes]:
        """Raises `NotHere`, `InvalidDigest`, and what reading raises."""
        digest = decode_digest(request, "ReadBlobRequest")
        reader = self._blobs.open(digest)
        if reader is None:
            raise NotHere(kind="blob", name=print_digest(digest))
        try:
            yield from _frames(digest, reader)
        finally:
            reader.close()

    def put(self, requests: Iterator[bytes], _caller: Caller) -> bytes:
        """The blob is durable when this returns. Nothing of it stays when the caller goes away half-way."""
        writer = self._blobs.writer()
        try:
            for request in requests:
                writer.write(decode_frame(request))
            digest = writer.close()
        finally:
            writer.abort()
        self._sync()
        return encode_digest(digest)


def _frames(digest: Digest, reader: BlobReader) -> Iterator[bytes]:
    size = reader.size
    offset = 0
    while True:
        data = reader.read_at(offset, FRAME_BYTES)
        offset += len(data)
        if offset < size and not data:
            raise CorruptBlob(
                digest=print_digest(digest), origin="the store", actual=f"something of {offset} bytes instead of {size}"
            )
        yield encode_frame(data)
        if offset >= size:
            return
