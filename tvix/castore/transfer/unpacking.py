"""Decompressing what a server sent, to no more than it said beforehand.

A zstd frame may announce its own size, and the library makes room for it before it looks at anything else: so that is compared first.
"""

from __future__ import annotations

from tvix.castore.blobs.interface import Buffer
from tvix.castore.protobuf import MalformedMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zstandard import ZstdDecompressor

_decompressor: ZstdDecompressor | None = None


def preload() -> None:
    """Load the library, which takes 9 ms, before the first frame needs it."""
    global _decompressor  # noqa: PLW0603
    if _decompressor is None:
        from zstandard import ZstdDecompressor

        _decompressor = ZstdDecompressor()


def unpack(frame: Buffer, size: int) -> bytes:
    """The contents of one zstd frame, which must be `size` bytes. Raises `MalformedMessage`. One thread at a time."""
    from zstandard import CONTENTSIZE_ERROR, CONTENTSIZE_UNKNOWN, ZstdError, frame_content_size

    preload()
    if _decompressor is None:
        raise AssertionError("it was just loaded")
    try:
        said = frame_content_size(frame)
        if said not in (size, CONTENTSIZE_UNKNOWN) or said == CONTENTSIZE_ERROR:
            raise MalformedMessage(what="zstd frame", reason=f"it holds another size than the {size} bytes said", offset=0)
        contents = _decompressor.decompress(frame, max_output_size=size, allow_extra_data=False)
    except ZstdError as error:
        raise MalformedMessage(what="zstd frame", reason=str(error), offset=0) from None
    if len(contents) != size:
        raise MalformedMessage(what="zstd frame", reason=f"it holds {len(contents)} bytes instead of {size}", offset=0)
    return contents
