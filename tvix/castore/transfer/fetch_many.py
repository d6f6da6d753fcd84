"""Many small things by one `Fetch`, for callers who wait: the client that has many things on its way at once is another one.

All is asked in one message, and handed on in the order asked as soon as it has come; the call stands still while nobody takes it. A
connection that breaks is made anew and asked for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tvix.castore.blobs.interface import Buffer, CorruptBlob, StoreUnavailable
from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.remote_calls import Incoming
from tvix.castore.remote_channel import TRANSFER, Channel
from tvix.castore.remote_errors import StoreFailed
from tvix.castore.transfer.closure_message import decode_closure_part
from tvix.castore.transfer.messages import (
    AS_STORED,
    DIRECTORIES,
    ITEMS,
    PLAIN,
    WHOLE_ZSTD,
    Ask,
    Frame,
    decode_frame,
    encode_ask,
)
from tvix.castore.transfer.unpacking import unpack

_FRAME_BYTES = 256 << 10
_ITEM_BYTES_MAX = 16 << 20
_PART_BYTES_MAX = 32 << 20
_TOO_LARGE = "transfer.item-too-large"


class TooLargeForOne(Exception):
    """Something that was asked for doesn't fit into one message."""


def fetch_many(channel: Channel, digests: Sequence[Digest]) -> Iterator[Buffer | None]:
    """Blobs, chunks or directories, each verified, in the order of `digests`; None for what isn't there.

    Raises `CorruptBlob`, `StoreFailed`, `StoreUnavailable`; `TooLargeForOne` for the next one that is due.
    """
    done = 0
    arrived: dict[int, Buffer | None] = {}
    while done < len(digests):
        waiting = [number for number in range(done, len(digests)) if number not in arrived]
        incoming = channel.stream(TRANSFER, "Fetch", _ask(digests, waiting))
        try:
            outstanding = set(waiting)
            while done < len(digests):
                _take(channel, incoming, digests, outstanding, arrived)
                while done in arrived:
                    yield arrived.pop(done)
                    done += 1
        except StoreUnavailable:
            if not incoming.broken:
                raise
        except StoreFailed as error:
            if error.remote_identifier == _TOO_LARGE:
                raise TooLargeForOne from None
            raise
        finally:
            incoming.cancel()


def fetch_closure(channel: Channel, root: Digest) -> Iterator[bytes]:
    """The encoded directories of a closure, as unproven as they came; nothing where `root` isn't there.

    Raises `StoreFailed`, `StoreUnavailable`, `MalformedMessage`.
    """
    request = encode_ask(Ask(root=root, closure=True, codec=_codec(), max_frame=_FRAME_BYTES))
    told = 0
    while True:
        incoming = channel.stream(TRANSFER, "Fetch", request)
        skip = told
        try:
            more = True
            while more:
                frame = _next(channel, incoming)
                if frame.kind != DIRECTORIES or frame.root != root:
                    raise _refuse(channel, "it sends something else than the closure that it was asked for")
                more = frame.more
                for encoded in decode_closure_part(_payload(frame)).directories:
                    if skip:
                        skip -= 1
                        continue
                    told += 1
                    yield encoded
        except StoreUnavailable:
            if not incoming.broken:
                raise
            continue
        finally:
            incoming.cancel()
        return


def _ask(digests: Sequence[Digest], numbers: Sequence[int]) -> bytes:
    return encode_ask(Ask(ids=numbers, digests=[digests[n] for n in numbers], codec=_codec(), max_frame=_FRAME_BYTES))


def _codec() -> int:
    """As things lie, where we can decompress."""
    from importlib.util import find_spec

    return AS_STORED if find_spec("zstandard") is not None else PLAIN


def _next(channel: Channel, incoming: Incoming) -> Frame:
    message = incoming.next()
    if message is None:
        raise _refuse(channel, "it ends before everything is answered")
    return decode_frame(message)


def _take(
    channel: Channel, incoming: Incoming, digests: Sequence[Digest], outstanding: set[int], arrived: dict[int, Buffer | None]
) -> None:
    """One frame."""
    frame = _next(channel, incoming)
    answered = (*frame.ids, *frame.missing)
    if frame.kind != ITEMS or not answered:
        raise _refuse(channel, "it sends a message in which nothing is answered")
    if not outstanding.issuperset(answered) or len(set(answered)) != len(answered):
        raise _refuse(channel, "it answers what wasn't asked, or twice")
    outstanding.difference_update(answered)
    offset = 0
    payload = memoryview(frame.payload)
    for number, size, length in zip(frame.ids, frame.sizes, frame.lengths, strict=True):
        if length > size or size > _ITEM_BYTES_MAX:
            raise _refuse(channel, f"it sends {size} bytes as {length}")
        contents: Buffer = payload[offset : offset + length]
        offset += length
        if length < size:
            contents = unpack(contents, size)
        actual = digest_of(contents)
        if actual != digests[number]:
            raise CorruptBlob(digest=print_digest(digests[number]), origin=channel.origin, actual=print_digest(actual))
        arrived[number] = contents
    for number in frame.missing:
        arrived[number] = None


def _payload(frame: Frame) -> Buffer:
    if frame.codec != WHOLE_ZSTD:
        return frame.payload
    if frame.raw_size > _PART_BYTES_MAX:
        raise MalformedMessage(what="frame", reason=f"it is said to hold {frame.raw_size} bytes", offset=0)
    return unpack(frame.payload, frame.raw_size)


def _refuse(channel: Channel, reason: str) -> StoreFailed:
    return StoreFailed(origin=channel.origin, method="Fetch", reason=reason)
