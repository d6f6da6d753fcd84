"""A large blob on its way: pieces that come in any order, and one hash over all of them in theirs.

Pieces are the chunks of a list, or ranges where there is none. A list proves nothing. Where lists are believed, each chunk can be
read once it is what the list says, and the whole is checked when the last has come. Otherwise nothing can be read before that; the
pieces are asked for in order, no more than a window ahead of the hash, and lie near meanwhile by their own names. What they hashed
to on that pass is proven, so what near has forgotten is fetched again piece by piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from blake3 import blake3

from tvix.castore.blobs.contents import WrongBlobSize
from tvix.castore.blobs.interface import Buffer, Chunk, CorruptBlob
from tvix.castore.chunk_list import ChunkMap
from tvix.castore.chunking import CHUNK_BYTES_MAX, CHUNKS_MAX, BlobTooLarge
from tvix.castore.digests import Digest, print_digest
from tvix.castore.transfer.hot_set import Key
from tvix.castore.transfer.messages import FOREGROUND
from tvix.castore.transfer.near_end import NearEnd
from tvix.castore.transfer.waiting import Read, Taker

WINDOW_BYTES = 8 << 20
"""How far a blob is asked for ahead of its hash."""
PIECE_BYTES = 512 << 10
_PIECE_BYTES_MAX = 8 << 20
_PIECES_USUAL = 4096
_STEP_BYTES = 1 << 20
_UNKNOWN = Digest(b"")
_IDLE = 255


class Owner(Protocol):
    """What a blob needs of the scheduler."""

    near: NearEnd
    origin: str
    ranges: dict[Key, Digest]
    """What announced ranges hash to that came before anybody waited: it proves nothing, but is what they lie near by."""

    def want(
        self, key: Digest | Key, want: Digest | None, size: int | None, priority: int, taker: Taker | None, number: int = 0,
        elsewhere: Key | None = None,
    ) -> None:  # fmt: skip
        """Ask for an item that isn't here, or wait for it too."""

    def serve(self, read: Read) -> None:
        """Try a read again."""

    def resume(self, blob: LargeBlob) -> None:
        """Call `advance` again once nothing more urgent is to do."""

    def forget(self, blob: LargeBlob, error: Exception) -> None:
        """The blob isn't what its name says, nor therefore its list: tell everyone who waits for any of it.

        What was read by that list stays in the kernel's memory, so the rest of a `told` blob is never read.
        """


class LargeBlob:
    """`chunks` is a list that somebody sent, None where there is none; `believed`: its chunks may be read before the whole."""

    def __init__(self, owner: Owner, digest: Digest, size: int, chunks: Sequence[Chunk] | None, believed: bool) -> None:
        self.digest = digest
        self.size = size
        self.by_chunk = chunks is not None
        pieces = chunks if chunks is not None else _ranges(size)
        self._map = ChunkMap(pieces)
        self._names = [piece.digest for piece in pieces]
        self._here = bytearray(len(pieces))
        self._asked = 0  # up to this piece, everything was asked for or found
        self._asked_bytes = 0
        self._hasher = blake3()
        self._hashed = 0  # pieces
        self._hashed_bytes = 0
        self._owner = owner
        self._reads: list[Read] = []
        self._priority = _IDLE
        self.proven = False
        self.believed = believed and self.by_chunk
        self.broken = False
        self._awaited = False
        self.told = False
        """Whether pieces may have been read that nothing but a list vouched for."""
        self._recorded = False

    @property
    def pieces(self) -> int:
        """How many."""
        return len(self._names)

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing is on its way."""
        return not self._reads and (self.proven or self.believed or self._priority == _IDLE)

    def keys(self, offset: int = 0, length: int | None = None) -> list[Key]:
        """What a recording calls the pieces of a range; of everything, once, where nothing less can be read at first."""
        if not (self.believed or self.proven):
            if self._recorded:
                return []
            self._recorded = True
            offset, length = 0, None
        numbers = [number for number, _offset, _length in self._map.pieces(offset, self.size if length is None else length)]
        return [Key(self._names[number]) if self.by_chunk else self._range(number) for number in numbers]

    def serve(self, read: Read) -> bool:
        """Answer a read, now or later. Whether it was now."""
        if not (self.proven or self.believed):
            self._reads.append(read)
            self.fetch(read.priority)
            return False
        near = self._owner.near
        parts: list[Buffer | None] = []
        spans: list[tuple[int, int]] = []
        lacking: list[tuple[int, int]] = []
        for place, (number, start, length) in enumerate(self._map.pieces(read.offset, read.length)):
            contents = near.get(self._names[number])
            if contents is None:
                lacking.append((place, number))
            elif len(contents) != self._map.chunks[number].size:
                self._refuse(wrong_size(self._names[number], self._map.chunks[number].size, len(contents)))
            elif not self._here[number]:
                self._here[number] = 1
                self.advance(contents if number == self._hashed else None)
            parts.append(contents)
            spans.append((start, length))
        if self.broken:
            return False  # everyone was told, this one too
        now = read.expect(parts, spans)
        self.told = self.told or (now and not self.proven)
        self._awaited = self._awaited or bool(lacking)
        for place, number in lacking:
            self._want(number, read.priority, read, place)
        return now

    def fetch(self, priority: int) -> None:
        """Have the whole on its way: all of it where lists are believed, else as far as the window goes."""
        urgent = priority < self._priority
        self._priority = min(self._priority, priority)
        if self.proven or self.believed:
            absent = self._owner.near.absent(self._names)
            for number, name in enumerate(self._names):
                if name in absent:
                    self._want(number, priority)
                else:
                    self._here[number] = 1
            self.advance()
            return
        if urgent and priority == FOREGROUND:
            for number in range(self._hashed, self._asked):
                if not self._here[number]:
                    self._want(number, priority)
        self.advance()

    def fetch_range(self, offset: int, length: int, priority: int) -> None:
        """Have the pieces of a range on their way, of a blob that can be read by piece."""
        numbers = [number for number, _offset, _length in self._map.pieces(offset, length)]
        absent = self._owner.near.absent({self._names[number] for number in numbers})
        for number in numbers:
            if self._names[number] in absent:
                self._want(number, priority)

    def take(self, number: int, contents: Buffer, digest: Digest) -> None:
        """See `Taker`."""
        if self._names[number] == _UNKNOWN:
            self._names[number] = digest
        if not self._here[number]:
            self._here[number] = 1
            self.advance(contents if number == self._hashed else None)
        self.told = self.told or (self._awaited and not self.broken and not self.proven)

    def fail(self, number: int, error: Exception) -> None:  # noqa: ARG002
        """See `Taker`: whoever waits for the whole is told; those who wait for the piece are told by its item.

        A list whose chunks aren't what it says is done without the next time.
        """
        if self.by_chunk and not self.told and not self.proven and isinstance(error, CorruptBlob | WrongBlobSize):
            self._refuse(error)
            return
        reads, self._reads = self._reads, []
        self._priority = _IDLE
        self._asked, self._asked_bytes = self._hashed, self._hashed_bytes
        for read in reads:
            read.fail(0, error)

    def left(self, read: Read) -> None:
        """Somebody stopped waiting: a blob that nobody wants isn't fetched to its end."""
        if read in self._reads:
            self._reads.remove(read)
            if not self._reads and self._priority == FOREGROUND:
                self._priority = _IDLE

    def advance(self, contents: Buffer | None = None) -> None:
        """Hash what has its turn, and ask for what the window has come to. `contents` are those of the piece whose turn it is.

        Once all is here it is hashed to its end, before anybody gets the last piece: so who reads all of a blob gets an error if
        its list was wrong.
        """
        step = 0
        while not self.proven and not self.broken:
            if self._here[self._hashed]:
                if contents is None:
                    contents = self._owner.near.get(self._names[self._hashed])
                if contents is not None:
                    self._hasher.update(contents)
                    self._hashed_bytes += len(contents)
                    self._hashed += 1
                    step += len(contents)
                    contents = None
                    if self._hashed == len(self._names):
                        self._conclude()
                    elif step > _STEP_BYTES and self._here.find(0, self._hashed) >= 0:
                        self._owner.resume(self)
                        return
                    continue
                self._here[self._hashed] = 0  # near has forgotten it
                self._asked, self._asked_bytes = self._hashed, self._hashed_bytes
            if self.believed or self._priority == _IDLE or not self._ask_ahead():
                return

    def _conclude(self) -> None:
        actual = Digest(self._hasher.digest())
        if actual != self.digest:
            self._refuse(corrupt(self.digest, self._owner.origin, actual))
            return
        self.proven = True
        self._priority = _IDLE
        self._map = ChunkMap([Chunk(name, chunk.size) for name, chunk in zip(self._names, self._map.chunks, strict=True)])
        self._owner.near.keep_list(self.digest, self._map.chunks)
        reads, self._reads = self._reads, []
        for read in reads:
            self._owner.serve(read)

    def _refuse(self, error: Exception) -> None:
        self.broken = True
        self._owner.forget(self, error)

    def _ask_ahead(self) -> bool:
        """Ask for what the window has come to. Whether the piece whose turn it is turned out to be near."""
        chunks = self._map.chunks
        if self._asked < self._hashed:
            self._asked, self._asked_bytes = self._hashed, self._hashed_bytes
        start = self._asked
        while self._asked < len(chunks) and self._asked_bytes - self._hashed_bytes < WINDOW_BYTES:
            self._asked_bytes += chunks[self._asked].size
            self._asked += 1
        if self._owner.ranges and not self.by_chunk:
            for number in range(start, self._asked):
                self._names[number] = self._owner.ranges.pop(self._range(number), self._names[number])
        names = [self._names[number] for number in range(start, self._asked) if self._names[number] != _UNKNOWN]
        absent = self._owner.near.absent(names) if names else set()
        for number in range(start, self._asked):
            self._here[number] = self._names[number] != _UNKNOWN and self._names[number] not in absent
            if not self._here[number]:
                self._want(number, self._priority)
        return self._here[self._hashed] != 0

    def _want(self, number: int, priority: int, read: Read | None = None, place: int = 0) -> None:
        name = self._names[number]
        size = self._map.chunks[number].size
        known = None if name == _UNKNOWN else name
        key: Digest | Key = name if self.by_chunk else self._range(number)
        elsewhere = self._range(number) if self.by_chunk else None
        if not self._here[number] or read is None:
            self._owner.want(key, known, size, priority, self, number, elsewhere)
        if read is not None:
            self._owner.want(key, known, size, priority, read, place, elsewhere)

    def _range(self, number: int) -> Key:
        return Key(self.digest, self._map.offset(number), self._map.chunks[number].size)


def corrupt(digest: Digest, origin: str, actual: Digest) -> CorruptBlob:
    """The error for a blob that isn't what its name says."""
    return CorruptBlob(digest=print_digest(digest), origin=origin, actual=print_digest(actual))


def wrong_size(digest: Digest, said: int, actual: int) -> WrongBlobSize:
    """The error for a chunk that has another size than a list says."""
    return WrongBlobSize(digest=print_digest(digest), said=said, actual=actual)


def fits(chunks: Sequence[Chunk], size: int) -> bool:
    """Whether a list could be that of a blob of `size` bytes."""
    one_size_each = len(dict(chunks)) == len(set(chunks))
    return (
        one_size_each and sum(chunk.size for chunk in chunks) == size and all(0 < chunk.size <= CHUNK_BYTES_MAX for chunk in chunks)
    )


def _ranges(size: int) -> list[Chunk]:
    piece = PIECE_BYTES
    while size > piece * _PIECES_USUAL and piece < _PIECE_BYTES_MAX:
        piece *= 2
    if size > piece * CHUNKS_MAX:
        raise BlobTooLarge(size=size, limit=CHUNKS_MAX)
    return [Chunk(_UNKNOWN, min(piece, size - offset)) for offset in range(0, size, piece)]
