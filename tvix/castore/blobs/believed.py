"""Believing a list of chunks that a far end sent, until it can be known.

Where lists are believed, a range of a large blob costs the chunks that hold it, and each is held to the list. The blob's digest
doesn't cover the list, so the chunks are hashed in order as well, whatever order they come in: once all have come, either the list
has proved to be right or everyone is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from blake3 import blake3

from tvix.castore.blobs.interface import BlobService, Buffer, Chunk
from tvix.castore.chunk_list import WrongChunkList
from tvix.castore.chunking import CHUNK_BYTES_MAX, CHUNKS_MAX
from tvix.castore.digests import Digest, print_digest


def is_plausible(chunks: Sequence[Chunk]) -> bool:
    """Whether a list could be one of ours."""
    return 1 < len(chunks) <= CHUNKS_MAX and all(0 < chunk.size <= CHUNK_BYTES_MAX for chunk in chunks)


class BelievedList:
    """The chunks of one blob, and which of them have come. `proven` is called once, when they have made up the blob."""

    def __init__(
        self, digest: Digest, chunks: Sequence[Chunk], near: BlobService, far_name: str, proven: Callable[[BelievedList], None]
    ) -> None:
        self.digest = digest
        self.chunks = chunks
        self._near = near
        self._far_name = far_name
        self._proven = proven
        self._seen = bytearray(len(chunks))
        self._next = 0
        self._hasher = blake3()
        self._lock = Lock()

    def take(self, number: int, contents: Buffer) -> None:
        """A chunk that hashes to what the list says of it. Raises `WrongChunkList` for the last, where the whole isn't right."""
        with self._lock:
            self._seen[number] = 1
            if number != self._next:
                return
            self._add(contents)
            while self._next < len(self.chunks) and self._seen[self._next]:
                ((_digest, kept),) = self._near.read_many((self.chunks[self._next].digest,))
                if kept is None:  # near has dropped it: it will be seen again by whoever reads it
                    self._seen[self._next] = 0
                    return
                self._add(kept)
            if self._next < len(self.chunks):
                return
            actual = self._hasher.digest()
        if actual != self.digest:
            reason = f"make up blob {print_digest(Digest(actual))}"
            raise WrongChunkList(digest=print_digest(self.digest), origin=self._far_name, reason=reason)
        self._proven(self)

    def _add(self, contents: Buffer) -> None:
        self._hasher.update(contents)
        self._next += 1
