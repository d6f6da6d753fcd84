"""Decompressing what a server sent, to no more than it said beforehand."""

from __future__ import annotations

from tvix.castore.blobs.interface import Buffer
from tvix.castore.compression import decompress
from tvix.castore.protobuf import MalformedMessage


def unpack(frame: Buffer, size: int) -> bytes:
    """The contents of one zstd frame, which must be `size` bytes. Raises `MalformedMessage`."""
    try:
        return decompress(frame, size)
    except ValueError as error:
        raise MalformedMessage(what="zstd frame", reason=str(error), offset=0) from None
