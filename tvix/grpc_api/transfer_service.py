"""`tvix_appliance.castore.v1.Transfer` over any blobs and directories; protos/tvix_appliance_castore_v1.proto describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event, Thread

from blake3 import blake3

from tvix import VERSION
from tvix.castore.blobs.interface import (
    BlobService,
    Buffer,
    BulkBlobService,
    Chunk,
    ChunkedBlobService,
    StoredBlob,
    StoredBlobService,
)
from tvix.castore.chunking import CHUNK_BYTES_MAX
from tvix.castore.digests import Digest, digest_from_bytes, digest_of, print_digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.transfer.hot_set import HotSetService
from tvix.castore.transfer.messages import SERVICE
from tvix.castore.transfer.requests import (
    Description,
    decode_missing_request,
    decode_put_blobs,
    decode_put_chunked,
    encode_description,
    encode_missing_response,
    encode_put_blobs_response,
)
from tvix.errors import EX_DATAERR, TvixError
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.doors import Doors
from tvix.grpc_api.fetch_session import FetchSession, FetchSource
from tvix.grpc_api.methods import BOTH_WAYS, UNARY, Method
from tvix.grpc_api.zstd_frames import ZstdFrames

PUT_BYTES_MAX = 256 << 20
"""What the blobs of one message may decompress to together."""


class WrongBlob(TvixError):
    """Something that was sent under a digest isn't what the digest names, or can't be made of what it is said to consist of."""

    identifier = "transfer.wrong-blob"
    message = "blob {digest} is refused: {reason}"
    exit_code = EX_DATAERR


class TransferMethods:
    """The methods as functions from encoded requests to encoded answers; `sync` makes blobs durable."""

    def __init__(
        self,
        blobs: BlobService,
        directories: DirectoryService,
        sync: Callable[[], None],
        *,
        hot_sets: HotSetService | None = None,
        features: Sequence[str] = (),
        message_bytes: int,
        doors: Doors | None = None,
        root_of: Callable[[bytes], Digest | None] | None = None,
    ) -> None:
        self._blobs = blobs
        self._directories = directories
        self._sync = sync
        self._source = FetchSource(blobs, directories, hot_sets, root_of=root_of)
        recording = ("push", "record") if hot_sets is not None else ()
        self._features = ("missing", "put-blobs", "put-chunked", "closure", *recording, *features)
        self._message_bytes = message_bytes
        self._doors = doors or Doors()

    def methods(self) -> Iterator[Method]:
        """For the table."""
        yield Method(SERVICE, "Describe", UNARY, self.describe)
        yield Method(SERVICE, "Fetch", BOTH_WAYS, self.fetch)
        yield Method(SERVICE, "Missing", UNARY, self.missing)
        yield Method(SERVICE, "PutBlobs", UNARY, self.put_blobs, needs_write=True)
        yield Method(SERVICE, "PutChunked", UNARY, self.put_chunked, needs_write=True)

    def describe(self, _request: bytes, caller: Caller) -> bytes:
        """What this caller can do here."""
        doors = (self._doors.ports, self._doors.tls_ports, self._doors.sockets)
        return encode_description(Description(f"tvix {VERSION}", caller.may_write, self._features, self._message_bytes, *doors))

    def missing(self, request: bytes, _caller: Caller) -> bytes:
        """Raises `MalformedMessage`."""
        digests, of_directories = decode_missing_request(request)
        service = self._directories if of_directories else self._blobs
        absent = service.missing(set(digests))
        return encode_missing_response([digest in absent for digest in digests])

    def fetch(self, requests: Iterator[bytes], caller: Caller) -> Iterator[Sequence[Buffer]]:
        """One stream. A second thread reads what is asked, so that it is heard while an answer waits for room on its way."""
        session = FetchSession(self._source, may_write=caller.may_write)
        listener = _Listener(session, requests)
        try:
            yield from listener.answers()
        finally:
            listener.close()

    def put_blobs(self, request: bytes, _caller: Caller) -> bytes:
        """Durable when this returns. Raises `MalformedMessage`, `WrongBlob`, and what storing raises."""
        blobs = decode_put_blobs(request)
        if sum(blob.size for blob in blobs) > PUT_BYTES_MAX:
            raise MalformedMessage(what="PutBlobsRequest", reason=f"it holds over {PUT_BYTES_MAX} bytes", offset=0)
        if any(blob.size > CHUNK_BYTES_MAX for blob in blobs):
            raise MalformedMessage(what="PutBlobsRequest", reason=f"a blob has over {CHUNK_BYTES_MAX} bytes", offset=0)
        digests: list[Digest] = []
        checked = self._checked(blobs, digests)
        if isinstance(self._blobs, StoredBlobService):
            self._blobs.put_stored((digest, stored) for digest, stored, _contents in checked)
        elif isinstance(self._blobs, BulkBlobService):
            self._blobs.put_many((digest, contents) for digest, _stored, contents in checked)
        else:
            for _digest, _stored, contents in checked:
                self._blobs.put(contents)
        self._sync()
        return encode_put_blobs_response(digests)

    def put_chunked(self, request: bytes, _caller: Caller) -> bytes:
        """Durable when this returns. Raises `MalformedMessage`, `WrongBlob`, and what storing raises."""
        digest, chunks = decode_put_chunked(request)
        digest_from_bytes(digest)
        if self._blobs.missing((digest,)):
            self._put_chunked(digest, chunks)
        self._sync()
        return encode_put_blobs_response([digest])

    def _put_chunked(self, digest: Digest, chunks: Sequence[Chunk]) -> None:
        hasher = blake3()
        keeps_chunks = isinstance(self._blobs, ChunkedBlobService)
        writer = None if keeps_chunks else self._blobs.writer()
        try:
            for chunk in chunks:
                contents = self._chunk(digest, *chunk)
                hasher.update(contents)
                if writer is not None:
                    writer.write(contents)
            if hasher.digest() != digest:
                made = print_digest(Digest(hasher.digest()))
                raise WrongBlob(digest=print_digest(digest), reason=f"its chunks make {made}")
            if writer is not None:
                writer.close()
            elif not self._blobs.put_chunked(digest, chunks):  # type: ignore[attr-defined]
                raise WrongBlob(digest=print_digest(digest), reason="a chunk of it is not here any more")
        finally:
            if writer is not None:
                writer.abort()

    def _chunk(self, digest: Digest, name: Digest, size: int) -> Buffer:
        reader = self._blobs.open(name)
        if reader is None:
            raise WrongBlob(digest=print_digest(digest), reason=f"its chunk {print_digest(name)} is not here")
        try:
            if reader.size != size:
                raise WrongBlob(
                    digest=print_digest(digest), reason=f"its chunk {print_digest(name)} has {reader.size} bytes, not {size}"
                )
            return reader.read_at(0, size) if size else b""
        finally:
            reader.close()

    def _checked(self, blobs: Sequence[StoredBlob], digests: list[Digest]) -> Iterator[tuple[Digest, StoredBlob, bytes]]:
        """Each blob with its digest, computed here, and its contents."""
        zstd = ZstdFrames()
        for blob in blobs:
            packed = len(blob.contents) < blob.size
            contents = zstd.unpack(blob.contents, blob.size) if packed else bytes(blob.contents)
            digest = digest_of(contents)
            digests.append(digest)
            yield digest, StoredBlob(blob.size, bytes(blob.contents) if packed else contents), contents


class _Listener:
    """A session whose asks are read by a thread of its own."""

    def __init__(self, session: FetchSession, requests: Iterator[bytes]) -> None:
        self._session = session
        self._requests = requests
        self._heard = Event()
        self._failure: BaseException | None = None
        self._closed = False
        Thread(target=self._listen, name="fetch-asks", daemon=True).start()

    def answers(self) -> Iterator[Sequence[Buffer]]:
        """Until nothing is left and nothing more can be asked. Raises what is wrong with an ask, and what reading raises."""
        session = self._session
        while True:
            self._heard.clear()
            if self._failure is not None:
                raise self._failure
            message = session.next()
            if message is not None:
                yield message
            elif session.over:
                return
            else:
                self._heard.wait()

    def close(self) -> None:
        """Nobody takes answers any more."""
        self._closed = True
        self._session.close()

    def _listen(self) -> None:
        try:
            for request in self._requests:
                if self._closed:
                    return
                self._session.receive(request)
                self._heard.set()
            self._session.finish()
        except BaseException as error:
            self._failure = error
        self._heard.set()
