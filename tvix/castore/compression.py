"""zstd for what lies in a store: many payloads compressed at once, one decompressed at a time.

Only what saves at least an eighth is worth the time that every reader then takes; a few hundred bytes hardly ever do. The library
is loaded when the first payload needs it: a start that reads nothing compressed doesn't pay its 9 ms.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from threading import Lock, local

from tvix.castore.blobs.interface import Buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zstandard import ZstdCompressor, ZstdDecompressor

LEVEL = 3
"""What stores compress with where nothing else is said; measured in docs/adr/0013-zstd-at-rest.md."""
LEVEL_MAX = 19
TRIED_BYTES_MIN = 256

_THREADS_FROM_BYTES = 256 << 10


def worth(size: int, compressed: int) -> bool:
    """Whether a frame of `compressed` bytes should be kept instead of `size` bytes of contents."""
    return compressed <= size - size // 8


class Compressor:
    """Compresses at `level`, or not at all at level 0. One thread at a time; it uses threads of its own within a call."""

    def __init__(self, level: int = LEVEL) -> None:
        self._level = level
        self._compressor: ZstdCompressor | None = None

    def compress(self, payloads: Sequence[Buffer]) -> list[bytes | None]:
        """One zstd frame for each payload that is worth it, None for the others."""
        frames: list[bytes | None] = [None] * len(payloads)
        tried = [number for number, payload in enumerate(payloads) if len(payload) >= TRIED_BYTES_MIN] if self._level else []
        if not tried:
            return frames
        if self._compressor is None:
            from zstandard import ZstdCompressor

            self._compressor = ZstdCompressor(level=self._level)
        chosen = [payloads[number] for number in tried]
        size = sum(map(len, chosen))
        threads = min(os.cpu_count() or 1, 4) if size >= _THREADS_FROM_BYTES and len(chosen) > 1 else 0
        made = self._compressor.multi_compress_to_buffer(chosen, threads=threads)
        for place, number in enumerate(tried):
            frame = made[place]
            if worth(len(payloads[number]), len(frame)):
                frames[number] = frame.tobytes()
        return frames


_own = local()  # a decompressor may be used by one thread at a time


def decompress(frame: Buffer, size: int) -> bytes:
    """The contents of one zstd frame. Raises `ValueError` where they aren't `size` bytes, before room is made for more."""
    from zstandard import ZstdDecompressor, ZstdError, frame_content_size

    decompressor: ZstdDecompressor | None = getattr(_own, "decompressor", None)
    if decompressor is None:
        decompressor = _own.decompressor = ZstdDecompressor()
    try:
        said = frame_content_size(frame)
        if said not in (size, -1):
            raise ValueError(f"a frame of {said} bytes instead of {size}")
        contents = decompressor.decompress(frame, max_output_size=size, allow_extra_data=False)
    except ZstdError as error:
        raise ValueError(str(error)) from None
    if len(contents) != size:
        raise ValueError(f"a frame of {len(contents)} bytes instead of {size}")
    return contents


class Recent:
    """The contents that were decompressed last, at most `bytes_max` of them: a chunk is often read in several pieces."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._contents: dict[bytes, Buffer] = {}
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: bytes) -> Buffer | None:
        """What was remembered by that key."""
        return self._contents.get(key)

    def keep(self, key: bytes, contents: Buffer) -> None:
        """Remember it, and forget the oldest where it is too much; the last one always stays."""
        with self._lock:
            self._bytes += len(contents) - len(self._contents.pop(key, b""))
            self._contents[key] = contents
            while self._bytes > self._bytes_max and len(self._contents) > 1:
                self._bytes -= len(self._contents.pop(next(iter(self._contents))))

    def clear(self) -> None:
        """Forget everything; in a child after a fork the lock may be held by a thread that is gone."""
        self._lock = Lock()
        self._contents.clear()
        self._bytes = 0
