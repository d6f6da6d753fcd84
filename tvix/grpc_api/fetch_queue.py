"""What a client of `Fetch` has asked for and not yet got, by priority and then in the order it asked.

A client may have a quarter of a million things on order, and a server hundreds of such clients, so nothing here is an object for
each thing: a message's columns are kept packed, about 50 bytes for each id, and promoted ids are looked for in the columns.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from threading import Lock
from typing import NamedTuple

from tvix.castore.digests import DIGEST_BYTES, Digest
from tvix.castore.transfer.messages import CLOSURE, FOREGROUND
from tvix.errors import EX_TEMPFAIL, TvixError

STREAM_IDS_MAX = 1 << 18
"""What one stream may have outstanding."""
STREAM_MESSAGES_MAX = 1 << 14
"""In how many messages it may have asked for it."""
SERVER_IDS_MAX = 1 << 22
"""What all streams of a server may have outstanding together: some 200 MB."""


class TooMuchAsked(TvixError):
    """A client asks for more at a time than a server is willing to remember."""

    identifier = "transfer.too-much-asked"
    message = "{what} outstanding at a time: at most {limit}"
    hint = "ask for the rest once some of it has come"
    exit_code = EX_TEMPFAIL


class Wanted(NamedTuple):
    """One thing on order: the whole of it where offset and length are 0."""

    id: int
    digest: Digest
    offset: int
    length: int


class Budget:
    """How many ids all streams of one server may have outstanding together."""

    def __init__(self, limit: int = SERVER_IDS_MAX) -> None:
        self._limit = limit
        self._used = 0
        self._lock = Lock()

    def take(self, count: int) -> None:
        """Raises `TooMuchAsked`."""
        with self._lock:
            if self._used + count > self._limit:
                raise TooMuchAsked(what="ids of all clients together", limit=self._limit)
            self._used += count

    def give_back(self, count: int) -> None:
        """What was sent, or given up."""
        with self._lock:
            self._used -= count

    @property
    def used(self) -> int:
        """How many are outstanding."""
        return self._used


class Block:
    """What one message asked for; `left` are those neither sent nor promoted.

    The columns belong together and aren't empty, but offsets and lengths may both be. Priorities end with that of closures.
    """

    __slots__ = ("cursor", "digests", "gone", "ids", "left", "lengths", "offsets", "priority")

    def __init__(
        self, ids: Sequence[int], digests: Iterable[bytes], offsets: Sequence[int], lengths: Sequence[int], priority: int
    ) -> None:
        count = len(ids)
        consecutive = ids[-1] - ids[0] == count - 1 and all(map(int.__eq__, ids, range(ids[0], ids[0] + count)))
        self.ids: range | array[int] = range(ids[0], ids[0] + count) if consecutive else array("I", ids)
        self.digests = b"".join(digests)
        self.offsets = array("Q", offsets) if any(offsets) or any(lengths) else None
        self.lengths = array("I", lengths) if self.offsets is not None else None
        self.priority = min(priority, CLOSURE)
        self.cursor = 0
        self.gone: bytearray | None = None
        self.left = count

    def waiting(self) -> Iterator[int]:
        """The positions of what is left."""
        positions = range(self.cursor, len(self.ids))
        gone = self.gone
        return iter(positions) if gone is None else (position for position in positions if not gone[position])

    def wanted(self, position: int) -> Wanted:
        """What stands at a position."""
        start = position * DIGEST_BYTES
        digest = Digest(self.digests[start : start + DIGEST_BYTES])
        if self.offsets is None or self.lengths is None:
            return Wanted(self.ids[position], digest, 0, 0)
        return Wanted(self.ids[position], digest, self.offsets[position], self.lengths[position])

    def find(self, ids: Collection[int]) -> list[int]:
        """The positions of those of `ids` that are left."""
        if isinstance(self.ids, range):
            first = self.ids.start
            positions = sorted(found - first for found in ids if found in self.ids)
        else:
            positions = [position for position, found in enumerate(self.ids) if found in ids]
        gone = self.gone
        return [position for position in positions if position >= self.cursor and not (gone and gone[position])]

    def take(self, position: int) -> None:
        """It is left no more."""
        self.left -= 1
        if position == self.cursor and self.gone is None:
            self.cursor += 1
            return
        if self.gone is None:
            self.gone = bytearray(len(self.ids))
        self.gone[position] = 1
        if position == self.cursor:
            following = self.gone.find(b"\0", position)
            self.cursor = following if following >= 0 else len(self.ids)


class FetchQueue:
    """Not to be shared between threads."""

    def __init__(self) -> None:
        self._blocks: dict[int, Block] = {}
        self._heap: list[tuple[int, int]] = []
        self._sequence = 0
        self._peeked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        """How many messages have something left."""
        return len(self._blocks)

    def add(self, block: Block) -> None:
        """One message."""
        self._sequence += 1
        self._blocks[self._sequence] = block
        heappush(self._heap, (block.priority, self._sequence))

    def promote(self, ids: Collection[int]) -> None:
        """From now on a process waits for these. What isn't on order is ignored."""
        wanted = frozenset(ids)
        for sequence, block in list(self._blocks.items()):
            positions = block.find(wanted) if block.priority != FOREGROUND else ()
            if not positions:
                continue
            moved = [block.wanted(position) for position in positions]
            for position in positions:
                block.take(position)
            if not block.left:
                del self._blocks[sequence]
            columns = list(zip(*moved, strict=True))
            self.add(Block(columns[0], columns[1], columns[2], columns[3], FOREGROUND))

    def priority(self) -> int | None:
        """Of what comes next; None where nothing is left."""
        heap = self._heap
        while heap and heap[0][1] not in self._blocks:
            heappop(heap)
        return heap[0][0] if heap else None

    def peek(self, count: int) -> list[Wanted]:
        """At most `count` things of one priority that come next. They stay on order until `taken`."""
        priority = self.priority()
        found: list[Wanted] = []
        self._peeked = []
        popped: list[tuple[int, int]] = []
        while len(found) < count and self.priority() == priority and priority is not None:
            entry = heappop(self._heap)
            popped.append(entry)
            block = self._blocks[entry[1]]
            for position in block.waiting():
                self._peeked.append((entry[1], position))
                found.append(block.wanted(position))
                if len(found) == count:
                    break
        for entry in popped:
            heappush(self._heap, entry)
        return found

    def taken(self, numbers: Iterable[int]) -> None:
        """These of what was last peeked at, in ascending order, are answered."""
        for number in numbers:
            sequence, position = self._peeked[number]
            block = self._blocks[sequence]
            block.take(position)
            if not block.left:
                del self._blocks[sequence]
