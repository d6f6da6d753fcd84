"""A scheduler, the server that answers it, and a clock that a test moves: both ends of a `Fetch` without a network."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tvix.castore.addresses import Castore
from tvix.castore.blobs.interface import Chunk
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.transfer.scheduler import Scheduler
from tvix.testing.fetch_server import FetchServer

CHUNK_BYTES = 60_000


def memory(max_bytes: int | None = None) -> Castore:
    """A store in memory."""
    return Castore(MemoryBlobService(max_bytes), MemoryDirectoryService())


class Ends:
    """Both ends. `got` is what was called back, in its order."""

    def __init__(self, near: Castore, far: Castore, *, trusts_lists: bool) -> None:
        self.now = 0.0
        self.near = near
        self.server = FetchServer(far)
        self.scheduler = Scheduler(near, "far", trusts_lists=trusts_lists, clock=lambda: self.now)
        self.scheduler.connected()
        self.got: list[object] = []

    def done(self, result: object) -> None:
        """What to be called back by."""
        self.got.append(result)

    def ask(self) -> int:
        """Have the server hear what there is to ask: in how many messages."""
        return len(self.server.hear(self.scheduler.outgoing()))

    def pump(self) -> None:
        """Until nothing is wanted any more."""
        while True:
            self.ask()
            if self.server.openings:
                for frame in self.server.open():
                    self.scheduler.receive(frame)
            elif self.server.wanted:
                self.scheduler.receive(self.server.answer(self.server.wanted[:3]))
            elif not self.scheduler.settle():
                return

    def chunked(self, contents: bytes) -> tuple[Digest, list[Chunk]]:
        """A large blob of the server, in chunks that a list of its names."""
        pieces = [contents[start : start + CHUNK_BYTES] for start in range(0, len(contents), CHUNK_BYTES)]
        self.server.contents.update({digest_of(piece): piece for piece in (*pieces, contents)})
        chunks = [Chunk(digest_of(piece), len(piece)) for piece in pieces]
        self.server.lists = {**self.server.lists, digest_of(contents): chunks}
        return digest_of(contents), chunks

    def small(self, *contents: bytes) -> list[Digest]:
        """Small blobs of the server."""
        return [self.server.store.blobs.put(one) for one in contents]


def text(result: object) -> bytes:
    """What a read was answered with."""
    assert isinstance(result, Sequence), result
    return b"".join(bytes(part) for part in result)


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that don't repeat."""
    return Random(seed).randbytes(size)  # noqa: S311
