"""Reading what a frame of `Fetch` holds: many small things with few calls to the store, ranges of large ones one by one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from tvix.castore.blobs.interface import BlobReader, BlobService, Buffer, StoredBlobService
from tvix.castore.chunking import CHUNK_BYTES_MAX
from tvix.castore.digests import Digest, print_digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.transfer.messages import ANNOUNCED, Frame
from tvix.errors import EX_DATAERR, TvixError
from tvix.grpc_api.fetch_queue import Wanted
from tvix.grpc_api.zstd_frames import ZstdFrames

ITEM_BYTES_MAX = CHUNK_BYTES_MAX
"""Of one thing or one range: every chunk fits, and a message with it stays below every limit."""

_READERS = 8
_BATCH_MAX = 256
_DIRECTORY_BATCH = 8
_FIRST_GUESS_BYTES = 4096


class ItemTooLarge(TvixError):
    """A client asks for something in one piece that no message could hold."""

    identifier = "transfer.item-too-large"
    message = "{digest} can't be sent in one piece: {size} bytes are wanted, at most {limit} go into a message"
    hint = "ask for ranges of it, or for its chunks"
    exit_code = EX_DATAERR


class ItemReader:
    """For one stream, one thread at a time. Readers of a few large blobs stay open: their ranges come one after the other."""

    def __init__(self, blobs: BlobService, directories: DirectoryService, zstd: ZstdFrames) -> None:
        self._blobs = blobs
        self._directories = directories
        self._zstd = zstd
        self._readers: OrderedDict[Digest, BlobReader] = OrderedDict()
        self._average = float(_FIRST_GUESS_BYTES)

    def guess(self, frame_bytes: int) -> int:
        """How many things fill a frame for sure, going by those of the last frames; what is too much isn't read."""
        return min(int(1.5 * frame_bytes / self._average) + 1, _BATCH_MAX)

    def close(self) -> None:
        """Let go of readers."""
        while self._readers:
            self._readers.popitem()[1].close()

    def read(self, wanted: Sequence[Wanted], frame_bytes: int, *, as_stored: bool) -> tuple[list[int], Frame, list[Buffer]]:
        """The places in `wanted` that are answered, ascending, the frame and its payload in pieces.

        At least one is answered; reading ends behind the one that fills the frame. Raises `ItemTooLarge`.
        """
        filling = _Filling(frame_bytes)
        position = 0
        while position < len(wanted) and not filling.full:
            end = position
            while end < len(wanted) and not (wanted[end].offset or wanted[end].length):
                end += 1
            if end > position:
                self._read_whole(wanted, position, end, filling, as_stored=as_stored)
            else:
                self._read_range(wanted, position, filling)
                end += 1
            position = end
        if filling.ids:
            self._average += (max(filling.bytes, 1) / len(filling.ids) - self._average) / 2
        frame = Frame(filling.ids, filling.sizes, filling.lengths, missing=filling.missing)
        return sorted(filling.answered), frame, filling.pieces

    def _read_whole(self, wanted: Sequence[Wanted], start: int, end: int, filling: _Filling, *, as_stored: bool) -> None:
        unknown = list(range(start, end))
        if isinstance(self._blobs, StoredBlobService):
            digests = [wanted[position].digest for position in unknown]
            found = self._blobs.read_stored(digests, filling.room)
            unknown = []
            for position, stored in enumerate(found, start):
                if stored is None:
                    unknown.append(position)
                elif _fits(wanted[position], stored.size):
                    packed = len(stored.contents) < stored.size and not as_stored
                    contents = self._zstd.unpack(stored.contents, stored.size) if packed else stored.contents
                    filling.add(position, wanted[position].id, stored.size, contents)
                else:
                    filling.miss(position, wanted[position].id)
        for first in range(0, len(unknown), _DIRECTORY_BATCH):
            if filling.full:
                return
            self._read_others(wanted, unknown[first : first + _DIRECTORY_BATCH], filling)

    def _read_others(self, wanted: Sequence[Wanted], positions: Sequence[int], filling: _Filling) -> None:
        """Blobs of several chunks, blobs of a store that has no better way, and directories."""
        unknown = []
        for position in positions:
            if filling.full:
                return
            if self._reader(wanted[position].digest) is None:
                unknown.append(position)
            else:
                self._read_range(wanted, position, filling)
        directories = self._directories.get_many([wanted[position].digest for position in unknown]) if unknown else {}
        for position in unknown:
            directory = directories.get(wanted[position].digest)
            if directory is not None and _fits(wanted[position], len(directory.encoded)):
                filling.add(position, wanted[position].id, len(directory.encoded), directory.encoded)
            else:
                filling.miss(position, wanted[position].id)

    def _read_range(self, wanted: Sequence[Wanted], position: int, filling: _Filling) -> None:
        asked = wanted[position]
        reader = self._reader(asked.digest)
        if reader is None:
            filling.miss(position, asked.id)
            return
        length = max(reader.size - asked.offset, 0)
        if asked.length:
            length = min(length, asked.length)
        if not _fits(asked, length):
            filling.miss(position, asked.id)
            return
        contents = reader.read_at(asked.offset, length) if length else b""
        filling.add(position, asked.id, len(contents), contents)

    def _reader(self, digest: Digest) -> BlobReader | None:
        reader = self._readers.get(digest)
        if reader is not None:
            self._readers.move_to_end(digest)
            return reader
        reader = self._blobs.open(digest)
        if reader is not None:
            self._readers[digest] = reader
            if len(self._readers) > _READERS:
                self._readers.popitem(last=False)[1].close()
        return reader


def _fits(asked: Wanted, size: int) -> bool:
    """Whether a message can hold it. Raises `ItemTooLarge` where a client asked for it; a hot set may say anything."""
    if size <= ITEM_BYTES_MAX:
        return True
    if asked.id >= ANNOUNCED:
        return False
    raise ItemTooLarge(digest=print_digest(asked.digest), size=size, limit=ITEM_BYTES_MAX)


class _Filling:
    """A frame in the making."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes
        self.ids: list[int] = []
        self.sizes: list[int] = []
        self.lengths: list[int] = []
        self.pieces: list[Buffer] = []
        self.missing: list[int] = []
        self.answered: list[int] = []
        self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether the frame is to be closed."""
        return self.bytes >= self._frame_bytes

    @property
    def room(self) -> int:
        """What is left."""
        return self._frame_bytes - self.bytes

    def add(self, position: int, number: int, size: int, contents: Buffer) -> None:
        """One thing more."""
        self.answered.append(position)
        self.ids.append(number)
        self.sizes.append(size)
        self.lengths.append(len(contents))
        self.pieces.append(contents)
        self.bytes += len(contents)

    def miss(self, position: int, number: int) -> None:
        """One thing that isn't here."""
        self.answered.append(position)
        self.missing.append(number)
