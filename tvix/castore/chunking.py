"""Cutting a large blob into chunks whose borders follow its contents, so that versions of it share most chunks.

FastCDC (2020) with chunks between half and twice the average. The average begins at 16 KiB and doubles after 64 chunks, then after
512, 1024 and from there on every 1536, up to 2 MiB (another beginning: see `chunks_per_level`); after 12,288 chunks pieces are
joined until a chunk has at least 8 MiB. So a list never passes 16,384 chunks, enough for any blob up to 36 GiB, whose size needn't
be known beforehand; equal contents always give equal chunks; and blobs that begin alike share the chunks of their beginning, which
they wouldn't if their sizes decided the average.
"""

from __future__ import annotations

from itertools import accumulate

from tvix.castore.blobs.interface import Buffer
from tvix.errors import EX_DATAERR, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyfastcdc import FastCDC

AVERAGE_BYTES = 16 << 10
CHUNKS_MAX = 16_384
CHUNK_BYTES_MAX = 12 << 20
"""No chunk is larger: joining stops at 8 MiB, and what is joined has at most 4."""

AVERAGE_BYTES_MIN = 1 << 10
AVERAGE_BYTES_MAX = 2 << 20  # pyfastcdc takes at most 1 MiB as the least size, which is half of this
_CUT_CHUNKS = 12_288
_FIRST_CHUNKS = 64
_SECOND_CHUNKS = 512
_JOINED_BYTES = 8 << 20


class BlobTooLarge(TvixError):
    """A blob that would have more chunks than a list may hold."""

    identifier = "castore.blob-too-large"
    message = "a blob of over {size} bytes can't be stored: it would have more than {limit} chunks"
    exit_code = EX_DATAERR


class ChunkingUnavailable(TvixError):
    """The compiled chunker is missing; its replacement in Python is a hundred times slower, so it isn't used."""

    identifier = "castore.chunking-unavailable"
    message = "the compiled part of pyfastcdc can't be loaded: {reason}"
    hint = "install pyfastcdc from a wheel for this platform; frozen programs need its module pyfastcdc.cy.constants"


def single_bytes_max(average: int = AVERAGE_BYTES) -> int:
    """Blobs up to this size stay in one piece."""
    return 2 * average


def chunks_per_level(average: int) -> list[int]:
    """How many chunks are cut with the first average, with twice that and so on; 12,288 in all.

    A few, which are all that most files have; then twice as many as before each time, as long as that leaves as many for each
    of the others.
    """
    levels = (AVERAGE_BYTES_MAX // average).bit_length()
    most = _CUT_CHUNKS // levels
    counts = [_FIRST_CHUNKS, *(min(_SECOND_CHUNKS << level, most) for level in range(levels - 2))][: levels - 1]
    return [*counts, _CUT_CHUNKS - sum(counts)]


class Chunker:
    """Cuts what it is fed. Not to be shared between threads. `average` must be a power of two from 1 KiB to 2 MiB."""

    def __init__(self, average: int = AVERAGE_BYTES) -> None:
        if average & (average - 1) or not AVERAGE_BYTES_MIN <= average <= AVERAGE_BYTES_MAX:
            raise ValueError(f"an average of {average} bytes is no power of two from {AVERAGE_BYTES_MIN} to {AVERAGE_BYTES_MAX}")
        self._average = average
        self._cutter = _cutter(average)
        self._level_ends = accumulate(chunks_per_level(average))
        self._level_end = next(self._level_ends)
        self._count = 0
        self._size = 0
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._joined: list[bytes] = []
        self._joined_bytes = 0

    def feed(self, data: Buffer) -> list[Buffer]:
        """The chunks that are complete once `data` is known. They may be views of `data`: use them before it changes.

        Raises `BlobTooLarge`.
        """
        self._rest_bytes += len(data)
        if self._rest_bytes < 2 * self._average:
            self._rest.append(bytes(data))
            return []
        view = memoryview(b"".join((*self._rest, data)) if self._rest else data)
        chunks: list[Buffer] = []
        start = self._cut(view, chunks)
        self._rest = [bytes(view[start:])]
        self._rest_bytes = len(view) - start
        return chunks

    def finish(self) -> list[Buffer]:
        """The chunks of what is left."""
        chunks: list[Buffer] = []
        self._cut(memoryview(b"".join(self._rest)), chunks, to_the_end=True)
        if self._joined:
            self._emit(b"".join(self._joined), chunks)
        self._rest = []
        self._rest_bytes = 0
        self._joined = []
        return chunks

    def _cut(self, view: memoryview, chunks: list[Buffer], to_the_end: bool = False) -> int:
        """Cut as far as borders are certain; where the rest begins. A border depends on at most the largest chunk's bytes."""
        start = 0
        size = len(view)
        while size - start >= 2 * self._average or (to_the_end and start < size):
            average = self._average
            base = start
            for piece in self._cutter.cut_buf(view[base:]):
                if not to_the_end and size - start < 2 * average:
                    return start
                start = base + piece.offset + piece.length
                self._take(view[base + piece.offset : start], chunks)
                if self._average != average:
                    break
        return start

    def _take(self, piece: memoryview, chunks: list[Buffer]) -> None:
        if self._count < _CUT_CHUNKS:
            self._emit(piece, chunks)
            if self._count == self._level_end < _CUT_CHUNKS:
                self._average *= 2
                self._cutter = _cutter(self._average)
                self._level_end = next(self._level_ends)
            return
        self._joined.append(bytes(piece))
        self._joined_bytes += len(piece)
        if self._joined_bytes >= _JOINED_BYTES:
            self._emit(b"".join(self._joined), chunks)
            self._joined = []
            self._joined_bytes = 0

    def _emit(self, chunk: Buffer, chunks: list[Buffer]) -> None:
        self._count += 1
        self._size += len(chunk)
        if self._count > CHUNKS_MAX:
            raise BlobTooLarge(size=self._size, limit=CHUNKS_MAX)
        chunks.append(chunk)


def _cutter(average: int) -> FastCDC:
    """The compiled cutter, never the slow one that pyfastcdc would fall back to."""
    try:
        from pyfastcdc.cy import FastCDC as Compiled
    except ImportError as error:
        raise ChunkingUnavailable(reason=str(error)) from error
    cutter: FastCDC = Compiled(average, min_size=average // 2, max_size=average * 2, normalized_chunking=1)
    return cutter
