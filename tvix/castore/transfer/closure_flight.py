"""The closure of a root on its way: directories are verified one by one as they come, parents first.

Each must be named by one that came before it, so a server can send no others, nor a cycle; and no more than `CLOSURE_BYTES_MAX`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tvix.castore.chunk_list import encode_chunks
from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.directories.interface import CorruptDirectory
from tvix.castore.directories.order import ParentsFirst, leaves_first
from tvix.castore.directory import Directory, InvalidDirectory
from tvix.castore.transfer.closure_message import ClosurePart
from tvix.castore.transfer.waiting import Read, Waiter
from tvix.castore.tree import DirectoryNotFound
from tvix.errors import EX_DATAERR, TvixError

CLOSURE_BYTES_MAX = 256 << 20
LISTS_BYTES_MAX = 64 << 20


class ClosureTooLarge(TvixError):
    """The directories of a closure are more than a client keeps."""

    identifier = "castore.closure-too-large"
    message = "the directories below {digest}, as {origin} sends them, are over {limit} bytes: refused"
    hint = "mount or fetch a smaller part of it"
    exit_code = EX_DATAERR


class ClosureFlight:
    """What was asked for with `root`: the `closure`, `push` a hot set of `profile` too; each is False once it has come.

    `reads` are of large blobs whose lists the closure may bring.
    """

    def __init__(self, root: Digest, origin: str, push: bool, profile: str) -> None:
        self.root = root
        self.push = push
        self.profile = profile
        self.closure = True
        self.unasked = False
        """Whether it comes by the name of a store path: nothing was asked by the root's own."""
        self.waiters: list[Waiter] = []
        self.reads: list[Read] = []
        self.waiting: dict[Digest, list[Waiter]] = {}
        self.told: dict[Digest, Directory] = {}
        self._origin = origin
        self._order = ParentsFirst(root, origin)
        self._bytes = 0

    def take(self, part: ClosurePart) -> Iterator[Directory]:
        """The directories of a part that are new, each verified. Raises what is wrong with them."""
        for encoded in part.directories:
            self._bytes += len(encoded)
            if self._bytes > CLOSURE_BYTES_MAX:
                raise ClosureTooLarge(digest=print_digest(self.root), origin=self._origin, limit=CLOSURE_BYTES_MAX)
            try:
                directory = Directory.decode(encoded)
                new = self._order.take(directory)
            except InvalidDirectory as error:
                digest = print_digest(digest_of(encoded))
                raise CorruptDirectory(digest=digest, origin=self._origin, reason=f"is {error}") from None
            if new:
                self.told[directory.digest] = directory
                yield directory

    def restart(self) -> None:
        """It is asked for again: what has come comes again, and isn't looked at twice."""
        self._bytes = 0
        self.unasked = False

    def expects(self, digest: Digest) -> bool:
        """Whether a directory is to come."""
        return self._order.expects(digest)

    def finish(self) -> Iterator[Directory]:
        """All of it, children first. Raises `IncompleteClosure`, and `DirectoryNotFound` where the server has nothing."""
        self._order.finish()
        if not self.told:
            raise DirectoryNotFound(digest=print_digest(self.root))
        return leaves_first(self.root, self.told)

    def everyone(self) -> list[Waiter]:
        """All who wait for it or a part of it."""
        waiters = [*self.waiters, *(waiter for waiters in self.waiting.values() for waiter in waiters)]
        self.waiters = []
        self.waiting = {}
        return waiters


class Lists:
    """Chunk lists that servers sent, by blob; encoded, since there may be many. Blobs do without those beyond a bound."""

    def __init__(self) -> None:
        self._lists: dict[Digest, bytes] = {}
        self._refused: set[Digest] = set()
        self._bytes = 0

    def learn(self, part: ClosurePart) -> None:
        """Those of a part of a closure."""
        for digest, chunks in part.chunk_lists.items():
            size = 36 * len(chunks)
            if digest not in self._lists and digest not in self._refused and self._bytes + size <= LISTS_BYTES_MAX:
                self._lists[digest] = encode_chunks(chunks)
                self._bytes += size

    def get(self, digest: Digest) -> bytes | None:
        """The list of a blob, encoded."""
        return self._lists.get(digest)

    def forget(self, digest: Digest) -> None:
        """A list is wrong; it isn't taken again."""
        encoded = self._lists.pop(digest, None)
        if encoded is not None:
            self._bytes -= len(encoded)
            self._refused.add(digest)
