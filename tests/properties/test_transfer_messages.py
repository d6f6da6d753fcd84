"""The messages of the extension protocol: what is encoded is decoded, as the generated code sees it too; garbage is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvix.castore.blobs.interface import Chunk, StoredBlob
from tvix.castore.digests import Digest
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.transfer.closure_message import ClosurePart, decode_closure_part, encode_closure_part
from tvix.castore.transfer.framing import Status, decode_status, encode_status
from tvix.castore.transfer.hot_set import Key, decode_keys, encode_keys
from tvix.castore.transfer.messages import ITEMS, Ask, Frame, decode_ask, decode_frame, encode_ask, encode_frame
from tvix.castore.transfer.requests import (
    Description,
    decode_description,
    decode_missing_request,
    decode_missing_response,
    decode_put_blobs,
    decode_put_blobs_response,
    decode_put_chunked,
    encode_description,
    encode_missing_request,
    encode_missing_response,
    encode_put_blobs,
    encode_put_blobs_response,
    encode_put_chunked,
)
from tvix.nix_compat.store_path import StorePathDigest
from tvix.proto import tvix_appliance_castore_v1_pb2 as generated
from tvix.store.path_infos.batch_messages import decode_digests, decode_path_info_list, encode_digests, encode_path_info_list

U32, U64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
digests = st.binary(min_size=32, max_size=32).map(Digest)
chunks = st.builds(Chunk, digests, U32)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    ids = draw(st.lists(U32, max_size=8))
    ranged = draw(st.booleans())
    column = st.lists(U64, min_size=len(ids), max_size=len(ids))
    return Ask(
        ids=tuple(ids),
        digests=draw(st.lists(digests, min_size=len(ids), max_size=len(ids))),
        offsets=tuple(draw(column)) if ranged else (),
        lengths=tuple(draw(st.lists(U32, min_size=len(ids), max_size=len(ids)))) if ranged else (),
        priority=draw(U32),
        root=draw(st.just(b"") | digests),
        push=draw(st.booleans()),
        codec=draw(U32),
        profile=draw(text),
        max_frame=draw(U32),
        closure=draw(st.booleans()),
        promote=tuple(draw(st.lists(U32, max_size=5))),
        record=draw(st.binary(max_size=90)),
        path=draw(st.just(b"") | st.binary(min_size=20, max_size=20)),
    )


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    items = draw(st.lists(st.tuples(U32, U32, st.binary(max_size=20)), max_size=6))
    lengths = tuple(len(contents) for _id, _size, contents in items)
    plain = draw(st.booleans()) or not any(lengths)
    sizes = lengths if plain else tuple(max(size, len(contents)) for _id, size, contents in items)
    return Frame(
        ids=tuple(number for number, _size, _contents in items),
        sizes=sizes,
        lengths=lengths,
        payload=b"".join(contents for _id, _size, contents in items),
        missing=tuple(draw(st.lists(U32, max_size=5))),
        kind=ITEMS,
        codec=draw(U32),
        raw_size=draw(U32),
        root=draw(st.just(b"") | digests),
        more=draw(st.booleans()),
        first=draw(U32),
    )


@given(asks())
def test_asks(ask: Ask) -> None:
    found = decode_ask(encode_ask(ask))
    assert found._replace(record=bytes(found.record)) == ask


@given(asks())
def test_asks_as_generated_code_sees_them(ask: Ask) -> None:
    message = generated.Ask.FromString(encode_ask(ask))
    assert (list(message.ids), message.digests) == (list(ask.ids), b"".join(ask.digests))
    assert (list(message.offsets), list(message.lengths), list(message.promote)) == (
        list(ask.offsets), list(ask.lengths), list(ask.promote),
    )  # fmt: skip
    assert (message.priority, message.root, message.push, message.codec) == (ask.priority, ask.root, ask.push, ask.codec)
    assert (message.profile, message.max_frame, message.closure, message.record, message.path) == (
        ask.profile, ask.max_frame, ask.closure, ask.record, ask.path,
    )  # fmt: skip
    again = decode_ask(message.SerializeToString())
    assert again._replace(record=bytes(again.record)) == ask


@given(frames())
def test_frames(frame: Frame) -> None:
    found = decode_frame(encode_frame(frame))
    assert found._replace(payload=bytes(found.payload)) == frame


@given(frames())
def test_frames_as_generated_code_sees_them(frame: Frame) -> None:
    message = generated.Frame.FromString(encode_frame(frame))
    assert (list(message.ids), list(message.sizes), list(message.missing)) == (
        list(frame.ids), list(frame.sizes), list(frame.missing),
    )  # fmt: skip
    assert (message.payload, message.kind, message.codec, message.raw_size) == (
        frame.payload, frame.kind, frame.codec, frame.raw_size,
    )  # fmt: skip
    assert (message.root, message.more, message.first) == (frame.root, frame.more, frame.first)
    again = decode_frame(message.SerializeToString())
    assert again._replace(payload=bytes(again.payload)) == frame


@given(st.lists(st.binary(max_size=50), max_size=5), st.dictionaries(digests, st.lists(chunks, max_size=4), max_size=3))
def test_closures(directories: list[bytes], lists: dict[Digest, list[Chunk]]) -> None:
    found = decode_closure_part(encode_closure_part(ClosurePart(directories, lists)))
    assert list(found.directories) == directories
    assert {digest: list(chunk_list) for digest, chunk_list in found.chunk_lists.items()} == lists


@given(st.lists(st.builds(Key, digests, U64, U32), max_size=5))
def test_hot_sets(keys: list[Key]) -> None:
    assert list(decode_keys(encode_keys(keys))) == keys


@given(st.builds(Status, text, text, text, text))
def test_statuses(status: Status) -> None:
    assert decode_status(encode_status(status)) == status


ports = st.lists(st.integers(1, 65535), max_size=3).map(tuple)
sockets = st.lists(st.binary(min_size=1, max_size=9), max_size=3).map(tuple)


@given(st.builds(Description, text, st.booleans(), st.lists(text.filter(bool), max_size=3).map(tuple), U64, ports, ports, sockets))
def test_descriptions(description: Description) -> None:
    assert decode_description(encode_description(description)) == description


@given(st.lists(digests, max_size=20), st.booleans())
def test_missing(asked: list[Digest], directories: bool) -> None:
    assert decode_missing_request(encode_missing_request(asked, directories=directories)) == (asked, directories)


@given(st.lists(st.booleans(), max_size=40))
def test_missing_bits(bits: list[bool]) -> None:
    assert decode_missing_response(encode_missing_response(bits), len(bits)) == bits


@given(st.lists(st.tuples(st.binary(max_size=30), st.integers(0, 1000)), max_size=5))
def test_put_blobs(blobs: Sequence[tuple[bytes, int]]) -> None:
    stored = [StoredBlob(len(contents) + (more if contents else 0), contents) for contents, more in blobs]
    found = decode_put_blobs(encode_put_blobs(stored))
    assert [StoredBlob(blob.size, bytes(blob.contents)) for blob in found] == stored


@given(digests, st.lists(chunks, max_size=5))
def test_put_chunked(digest: Digest, parts: list[Chunk]) -> None:
    assert decode_put_chunked(encode_put_chunked(digest, parts)) == (digest, parts)
    assert decode_put_blobs_response(encode_put_blobs_response([digest] * 2)) == [digest] * 2


@given(st.lists(st.binary(min_size=20, max_size=20).map(StorePathDigest), max_size=5), st.lists(st.binary(max_size=20), max_size=5))
def test_path_info_batches(asked: list[StorePathDigest], infos: list[bytes]) -> None:
    assert decode_digests(encode_digests(asked)) == asked
    assert decode_path_info_list(encode_path_info_list(infos)) == infos


DECODERS: list[Callable[[bytes], object]] = [
    decode_ask,
    decode_frame,
    decode_closure_part,
    decode_keys,
    decode_status,
    decode_description,
    decode_missing_request,
    lambda message: decode_missing_response(message, 3),
    decode_put_blobs,
    decode_put_blobs_response,
    decode_put_chunked,
    decode_digests,
    decode_path_info_list,
]


@pytest.mark.parametrize("decode", DECODERS)
@given(garbage=st.binary(max_size=120))
def test_garbage(decode: Callable[[bytes], object], garbage: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        decode(garbage)


@pytest.mark.parametrize("field", range(1, 16))
@pytest.mark.parametrize("value", [b"\x00\x05", b"\x01" + bytes(8), b"\x02\x00", b"\x02\x03abc", b"\x05abcd", b"\x03"])
@pytest.mark.parametrize("decode", DECODERS)
def test_any_field_of_any_type(decode: Callable[[bytes], object], field: int, value: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        decode(bytes((field << 3 | value[0],)) + value[1:])


@pytest.mark.parametrize("decode", DECODERS)
@given(ask=asks(), frame=frames(), place=st.integers(0, 1000), value=st.integers(0, 255))
def test_near_misses(decode: Callable[[bytes], object], ask: Ask, frame: Frame, place: int, value: int) -> None:
    for message in (encode_ask(ask), encode_frame(frame)):
        damaged = bytearray(message or b"\0")
        damaged[place % len(damaged)] = value
        for changed in (bytes(damaged), message[: place % len(damaged)]):
            with contextlib.suppress(MalformedMessage):
                decode(changed)
