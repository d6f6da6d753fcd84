"""What was read, in order of first use, by the names that a server has for it: chunks of large blobs, small blobs as a whole."""

from __future__ import annotations

from collections.abc import Iterable

from tvix.castore.chunk_list import ChunkMap, decode_chunks
from tvix.castore.digests import Digest
from tvix.castore.transfer.closure_flight import Lists
from tvix.castore.transfer.hot_set import KEYS_MAX, Key
from tvix.castore.transfer.near_end import NearEnd

_MAPS_MAX = 256


class Recorder:
    """`used` is the recording. It costs a look-up for each read."""

    def __init__(self, near: NearEnd, lists: Lists) -> None:
        self.used: list[Key] = []
        self._seen: set[Key] = set()
        self._near = near
        self._lists = lists
        self._maps: dict[Digest, ChunkMap | None] = {}

    def use(self, keys: Iterable[Key]) -> None:
        """These were read."""
        for key in keys:
            if key not in self._seen and len(self.used) < KEYS_MAX:
                self._seen.add(key)
                self.used.append(key)

    def use_range(self, digest: Digest, size: int, offset: int, length: int, whole_max: int) -> None:
        """A range of a blob that is near was read. A large one that nobody knows the chunks of isn't recorded."""
        if len(self.used) >= KEYS_MAX:
            return
        if digest in self._maps:
            pieces = self._maps[digest]
        else:
            encoded = self._lists.get(digest)
            chunks = decode_chunks(encoded) if encoded is not None else self._near.chunks(digest)
            pieces = ChunkMap(chunks) if chunks else None
            if len(self._maps) >= _MAPS_MAX:
                self._maps.pop(next(iter(self._maps)))
            self._maps[digest] = pieces
        if pieces is None or pieces.size != size:
            if size <= whole_max:
                self.use((Key(digest),))
            return
        self.use(Key(pieces.chunks[number].digest) for number, _offset, _length in pieces.pieces(offset, length))
