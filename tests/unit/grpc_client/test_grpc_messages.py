"""The messages coded by hand are those that protoc's code reads and writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvix.castore.blobs.interface import Chunk
from tvix.castore.digests import DIGEST_BYTES, Digest, InvalidDigest
from tvix.castore.grpc_messages import (
    FRAME_BYTES,
    decode_chunks,
    decode_digest,
    decode_frame,
    digest_and_flag,
    encode_chunks,
    encode_digest,
    encode_digest_and_flag,
    encode_frame,
    frames_of,
)
from tvix.castore.protobuf import MalformedMessage
from tvix.proto import snix_castore_v1_pb2 as published

digests = st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES).map(Digest)
chunks = st.builds(Chunk, digests, st.integers(0, (1 << 64) - 1))


@given(digests, st.booleans())
def test_requests(digest: Digest, flag: bool) -> None:
    stat = published.StatBlobRequest(digest=digest, send_chunks=flag).SerializeToString()
    assert (encode_digest_and_flag(digest, flag), digest_and_flag(stat, "")) == (stat, (digest, flag))
    get = published.GetDirectoryRequest(digest=digest, recursive=flag).SerializeToString()
    assert (encode_digest_and_flag(digest, flag), digest_and_flag(get, "")) == (get, (digest, flag))
    assert encode_digest(digest) == published.ReadBlobRequest(digest=digest).SerializeToString()
    assert decode_digest(published.PutBlobResponse(digest=digest).SerializeToString(), "") == digest


@given(st.binary(max_size=300))
def test_frames(data: bytes) -> None:
    assert encode_frame(data) == published.BlobChunk(data=data).SerializeToString()
    assert bytes(decode_frame(encode_frame(data))) == data
    assert bytes(decode_frame(encode_frame(b"first") + encode_frame(data or b"x") + b"\x78\x01")) == (data or b"x")


@given(st.lists(chunks, max_size=5))
def test_chunks(listed: list[Chunk]) -> None:
    response = published.StatBlobResponse(
        chunks=[published.StatBlobResponse.ChunkMeta(digest=chunk.digest, size=chunk.size) for chunk in listed], bao=b"ignored"
    )
    assert decode_chunks(response.SerializeToString()) == listed
    assert published.StatBlobResponse.FromString(encode_chunks(listed)).chunks == response.chunks


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES])
def test_a_blob_is_cut_into_frames(size: int) -> None:
    contents = bytes(size)
    frames = list(frames_of(contents))
    assert len(frames) == max(1, -(-size // FRAME_BYTES))
    assert b"".join(decode_frame(frame) for frame in frames) == contents


@given(st.binary(max_size=80))
def test_nonsense_is_refused_and_nothing_worse(message: bytes) -> None:
    for decode in (decode_frame, decode_chunks, lambda raw: digest_and_flag(raw, "nonsense")):
        try:
            decode(message)
        except (MalformedMessage, InvalidDigest):
            continue
