"""zstd frames for one call: made and opened by one thread at a time, as the library wants it; the library is loaded when needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvix.castore.blobs.interface import Buffer
from tvix.castore.protobuf import MalformedMessage

if TYPE_CHECKING:
    from zstandard import ZstdCompressor, ZstdDecompressor

_LEVEL = 3


class ZstdFrames:
    """Compresses and decompresses whole frames."""

    def __init__(self) -> None:
        self._compressor: ZstdCompressor | None = None
        self._decompressor: ZstdDecompressor | None = None

    def pack(self, contents: Buffer) -> bytes:
        """One frame."""
        if self._compressor is None:
            from zstandard import ZstdCompressor

            self._compressor = ZstdCompressor(level=_LEVEL)
        return self._compressor.compress(contents)

    def unpack(self, frame: Buffer, size: int) -> bytes:
        """The contents, which must be `size` bytes; memory for more is never taken. Raises `MalformedMessage`."""
        from zstandard import CONTENTSIZE_UNKNOWN, ZstdError, frame_content_size

        if self._decompressor is None:
            from zstandard import ZstdDecompressor

            self._decompressor = ZstdDecompressor()
        try:
            if frame_content_size(frame) not in (size, CONTENTSIZE_UNKNOWN):
                raise MalformedMessage(what="zstd frame", reason=f"it doesn't hold the {size} bytes said", offset=0)
            contents = self._decompressor.decompress(frame, max_output_size=size, allow_extra_data=False)
        except ZstdError as error:
            raise MalformedMessage(what="zstd frame", reason=str(error), offset=0) from None
        if len(contents) != size:
            raise MalformedMessage(what="zstd frame", reason=f"it holds {len(contents)} bytes instead of {size}", offset=0)
        return contents
