"""What is on its way, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tvix.castore.blobs.contents import WrongBlobSize
from tvix.castore.blobs.interface import Buffer
from tvix.castore.digests import Digest, print_digest
from tvix.castore.transfer.hot_set import Key

Done = Callable[[object], None]
"""Called once: with what was asked for, or with the exception that says why it can't be had."""


class Taker(Protocol):
    """Someone who needs an item; `number` is what he calls it."""

    def take(self, number: int, contents: Buffer, digest: Digest) -> None:
        """It has come and is what its name says; where its name says nothing (a range), `digest` is what it hashes to."""

    def fail(self, number: int, error: Exception) -> None:
        """It won't come."""


class Item:
    """Something asked for once, however many wait for it.

    `want` is what it must hash to, `size` how large it must be; None is not known. `elsewhere` is where else it could be found:
    as a range of the blob that it is a chunk of.
    """

    __slots__ = ("elsewhere", "id", "key", "priority", "size", "takers", "want")

    def __init__(self, number: int, key: Digest | Key, want: Digest | None, size: int | None, priority: int) -> None:
        self.id = number
        self.key = key
        self.want = want
        self.size = size
        self.priority = priority
        self.elsewhere: Key | None = None
        self.takers: list[tuple[Taker, int]] = []

    def fail(self, error: Exception) -> None:
        """Tell everyone."""
        takers, self.takers = self.takers, []
        for taker, number in takers:
            taker.fail(number, error)


class Waiter:
    """One who waits, with a deadline. `done` is None once it was called, or once nobody wants to know any more."""

    __slots__ = ("done", "result", "since")

    def __init__(self, done: Done, since: float) -> None:
        self.done: Done | None = done
        self.since = since
        self.result: object = None


class Read(Waiter):
    """A read: a range of a blob, whose parts come with different items."""

    __slots__ = ("_left", "_spans", "digest", "length", "offset", "parts", "priority", "size", "wake")

    def __init__(
        self, done: Done, since: float, digest: Digest, size: int, offset: int, length: int, priority: int,
        wake: Callable[[Waiter, object], None],
    ) -> None:  # fmt: skip
        super().__init__(done, since)
        self.digest = digest
        self.size = size
        self.offset = offset
        self.length = length
        self.priority = priority
        self.wake = wake
        self.parts: list[Buffer] = []
        self._spans: Sequence[tuple[int, int]] = ()
        self._left = 0

    def expect(self, parts: list[Buffer | None], spans: Sequence[tuple[int, int]]) -> bool:
        """Take what is here; `spans` says which offset and length of each item is meant. Whether that was everything."""
        self.parts = [b"" if part is None else memoryview(part)[start : start + size] for part, (start, size) in zip(parts, spans)]  # noqa: B905
        self._spans = spans
        self._left = sum(part is None for part in parts)
        return not self._left

    def take(self, number: int, contents: Buffer, digest: Digest) -> None:
        """See `Taker`."""
        start, size = self._spans[number]
        part = memoryview(contents)[start : start + size]
        if len(part) != size:  # two lists say different things of one chunk
            self.wake(self, WrongBlobSize(digest=print_digest(digest), said=start + size, actual=len(contents)))
            return
        self.parts[number] = part
        self._left -= 1
        if not self._left:
            self.wake(self, self.parts)

    def fail(self, number: int, error: Exception) -> None:  # noqa: ARG002
        """See `Taker`."""
        self.wake(self, error)
