"""The messages of `tvix_appliance.castore.v1.Transfer` as bytes; protos/tvix_appliance_castore_v1.proto says what each field means.

Columns are packed: one `struct.unpack` decodes each. Decoding checks what must hold for the columns to belong together and raises
`MalformedMessage` otherwise; what they say is as untrusted afterwards as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, iter_unpack, pack, unpack
from typing import NamedTuple

from tvix.castore.blobs.interface import Buffer
from tvix.castore.digests import DIGEST_BYTES, Digest
from tvix.castore.protobuf import (
    FIXED32,
    LENGTH_DELIMITED,
    MalformedMessage,
    bytes_field,
    encode_varint,
    fields,
    varint_field,
)

SERVICE = "tvix_appliance.castore.v1.Transfer"

FOREGROUND, SIBLINGS, HOT_SET, CLOSURE = 0, 1, 5, 7
"""Priorities: a process waits; it may soon; it did before; it might."""

PLAIN, AS_STORED = 0, 1
"""Codecs of an `Ask`."""
WHOLE_ZSTD = 1
"""The codec of a `Frame` whose payload is one zstd frame."""

ITEMS, DIRECTORIES, ANNOUNCEMENT = 0, 1, 3
"""Kinds of `Frame`."""

PATH_BYTES = 20
"""Of the digest in a store path."""

ANNOUNCED = 1 << 31
"""Ids from here on are the server's."""

FRAME_BYTES = 64 << 10
"""`max_frame` where a client doesn't say."""

_FIRST = Struct("<I")


class Ask(NamedTuple):
    """What a client says in a stream. `offsets` and `lengths` are both empty, or have one element for each id."""

    ids: Sequence[int] = ()
    digests: Sequence[Digest] = ()
    offsets: Sequence[int] = ()
    lengths: Sequence[int] = ()
    priority: int = FOREGROUND
    root: bytes = b""
    push: bool = False
    codec: int = PLAIN
    profile: str = ""
    max_frame: int = 0
    closure: bool = False
    promote: Sequence[int] = ()
    record: Buffer = b""
    path: bytes = b""


class Frame(NamedTuple):
    """What a server says. `lengths` has as many elements as `sizes`: how many bytes of the payload each item takes."""

    ids: Sequence[int] = ()
    sizes: Sequence[int] = ()
    lengths: Sequence[int] = ()
    payload: Buffer = b""
    missing: Sequence[int] = ()
    kind: int = ITEMS
    codec: int = 0
    raw_size: int = 0
    root: bytes = b""
    more: bool = False
    first: int = 0


def encode_ask(ask: Ask) -> bytes:
    """The message."""
    return b"".join(
        (
            _column(1, ask.ids),
            bytes_field(2, b"".join(ask.digests)),
            bytes_field(3, pack(f"<{len(ask.offsets)}Q", *ask.offsets)),
            _column(4, ask.lengths),
            varint_field(5, ask.priority),
            bytes_field(6, ask.root),
            varint_field(7, ask.push),
            varint_field(8, ask.codec),
            bytes_field(9, ask.profile.encode()),
            varint_field(10, ask.max_frame),
            varint_field(11, ask.closure),
            _column(12, ask.promote),
            bytes_field(13, bytes(ask.record)),
            bytes_field(14, ask.path),
        )
    )


def decode_ask(message: Buffer) -> Ask:
    """Raises `MalformedMessage`."""
    found = dict(fields(memoryview(message), "ask"))
    ids = _numbers(found, 1, "ask")
    digests = split_digests(_bytes(found, 2, "ask"), "ask")
    packed = _bytes(found, 3, "ask")
    if len(packed) % 8:
        raise MalformedMessage(what="ask", reason="a column of offsets is cut short", offset=0)
    offsets = unpack(f"<{len(packed) // 8}Q", packed)
    lengths = _numbers(found, 4, "ask")
    if len(digests) != len(ids) or any(len(column) not in (0, len(ids)) for column in (offsets, lengths)):
        raise MalformedMessage(what="ask", reason="the columns differ in length", offset=0)
    if lengths and not offsets:
        offsets = (0,) * len(ids)
    elif offsets and not lengths:
        lengths = (0,) * len(ids)
    root = bytes(_bytes(found, 6, "ask"))
    if len(root) not in (0, DIGEST_BYTES):
        raise MalformedMessage(what="ask", reason=f"a root of {len(root)} bytes", offset=0)
    path = bytes(_bytes(found, 14, "ask"))
    if len(path) not in (0, PATH_BYTES):
        raise MalformedMessage(what="ask", reason=f"a path of {len(path)} bytes", offset=0)
    try:
        profile = str(_bytes(found, 9, "ask"), "utf-8")
    except UnicodeDecodeError:
        raise MalformedMessage(what="ask", reason="the profile is not UTF-8", offset=0) from None
    return Ask(
        ids, digests, offsets, lengths, _number(found, 5, "ask"), root, _number(found, 7, "ask") != 0, _number(found, 8, "ask"),
        profile, _number(found, 10, "ask"), _number(found, 11, "ask") != 0, _numbers(found, 12, "ask"), _bytes(found, 13, "ask"),
        path,
    )  # fmt: skip


def encode_frame(frame: Frame) -> bytes:
    """The message, in one piece; `frame_head` leaves the payload where it is."""
    return frame_head(frame, len(frame.payload)) + bytes(frame.payload)


def frame_head(frame: Frame, payload_bytes: int) -> bytes:
    """A frame up to its payload, which is to follow: so that the items needn't be joined. `frame.payload` isn't looked at."""
    head = b"".join(
        (
            _column(1, frame.ids),
            _column(2, frame.sizes),
            varint_field(3, frame.codec),
            varint_field(4, frame.raw_size),
            _column(6, frame.missing),
            varint_field(7, frame.kind),
            b"" if frame.lengths == frame.sizes else _column(8, frame.lengths),
            bytes_field(9, frame.root),
            varint_field(10, frame.more),
            encode_varint(11 << 3 | FIXED32) + pack("<I", frame.first) if frame.first else b"",
        )
    )
    return head + encode_varint(5 << 3 | LENGTH_DELIMITED) + encode_varint(payload_bytes) if payload_bytes else head


def decode_frame(message: Buffer) -> Frame:
    """The payload stays a view of `message`. Raises `MalformedMessage`."""
    found = dict(fields(memoryview(message), "frame"))
    ids, sizes = _numbers(found, 1, "frame"), _numbers(found, 2, "frame")
    lengths = _numbers(found, 8, "frame") or sizes
    payload = _bytes(found, 5, "frame")
    kind = _number(found, 7, "frame")
    if not len(ids) == len(sizes) == len(lengths):
        raise MalformedMessage(what="frame", reason="the columns differ in length", offset=0)
    if kind == ITEMS and sum(lengths) != len(payload):
        raise MalformedMessage(what="frame", reason="the payload is not as long as its items", offset=0)
    first = found.get(11, b"\0\0\0\0")
    if isinstance(first, int) or len(first) != _FIRST.size:
        raise MalformedMessage(what="frame", reason="field 11 has the wrong type", offset=0)
    return Frame(
        ids, sizes, lengths, payload, _numbers(found, 6, "frame"), kind, _number(found, 3, "frame"), _number(found, 4, "frame"),
        bytes(_bytes(found, 9, "frame")), _number(found, 10, "frame") != 0, _FIRST.unpack(first)[0],
    )  # fmt: skip


def split_digests(packed: Buffer, what: str, size: int = DIGEST_BYTES) -> list[Digest]:
    """Digests of `size` bytes that stand one behind the other. Raises `MalformedMessage`."""
    if len(packed) % size:
        raise MalformedMessage(what=what, reason="a digest is cut short", offset=len(packed) - len(packed) % size)
    return [digest for (digest,) in iter_unpack(f"{size}s", packed)]


def _column(field: int, values: Sequence[int]) -> bytes:
    return bytes_field(field, pack(f"<{len(values)}I", *values))


def _bytes(found: dict[int, int | memoryview], field: int, what: str) -> memoryview:
    value = found.get(field)
    if value is None:
        return memoryview(b"")
    if isinstance(value, int):
        raise MalformedMessage(what=what, reason=f"field {field} has the wrong type", offset=0)
    return value


def _number(found: dict[int, int | memoryview], field: int, what: str) -> int:
    value = found.get(field, 0)
    if isinstance(value, int):
        return value
    raise MalformedMessage(what=what, reason=f"field {field} has the wrong type", offset=0)


def _numbers(found: dict[int, int | memoryview], field: int, what: str) -> tuple[int, ...]:
    packed = _bytes(found, field, what)
    if len(packed) % 4:
        raise MalformedMessage(what=what, reason=f"column {field} is cut short", offset=0)
    return unpack(f"<{len(packed) // 4}I", packed)
