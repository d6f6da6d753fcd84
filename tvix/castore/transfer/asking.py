"""What is to be asked: needs by priority, and what became urgent, until a connection takes them."""

from __future__ import annotations

from collections.abc import Iterable

from tvix.castore.transfer.closure_flight import ClosureFlight
from tvix.castore.transfer.messages import AS_STORED, FOREGROUND, FRAME_BYTES, PLAIN, Ask, encode_ask
from tvix.castore.transfer.waiting import Item

_IDS_A_MESSAGE = 16_384
_OUTSTANDING_MAX = 131_072
"""Ids that are on order at a time, half of what a server takes from one client; more urgent ones come on top."""
_ROOTS_MAX = 8
"""Closures likewise."""


class Asking:
    """Collects `Ask` messages. Nothing is sent twice in a connection; after `start` everything is new."""

    def __init__(self, stored: bool, max_frame: int) -> None:
        self._codec = AS_STORED if stored else PLAIN
        self.max_frame = max_frame or FRAME_BYTES
        self._first = True
        self._roots: list[ClosureFlight] = []
        self._openings: list[Ask] = []
        self._outstanding = 0
        self._roots_outstanding = 0
        self._queues: dict[int, list[Item]] = {}
        self._queued: set[int] = set()
        self._promoted: list[int] = []

    def start(self, items: Iterable[Item], roots: Iterable[ClosureFlight]) -> None:
        """A new connection knows nothing: ask for everything that hasn't come."""
        self._first = True
        self._outstanding = self._roots_outstanding = 0
        self._queues = {}
        self._queued = set()
        self._promoted = []
        self._roots = list(roots)
        for item in items:
            self.item(item)

    def root(self, flight: ClosureFlight) -> None:
        """A closure, and what goes with it."""
        self._roots.append(flight)

    def opening(self, ask: Ask) -> None:
        """Something that is likely to be of use, and missed by nobody: it is asked for once, on the first connection."""
        self._openings.append(ask)

    @property
    def opens(self) -> bool:
        """Whether an opening hasn't been asked for yet."""
        return bool(self._openings)

    def withdraw(self) -> bool:
        """Ask for no opening. Whether none has been asked for yet."""
        unsent, self._openings = bool(self._openings), []
        return unsent

    def item(self, item: Item) -> None:
        """A need."""
        self._queues.setdefault(item.priority, []).append(item)
        self._queued.add(item.id)

    def promote(self, item: Item) -> None:
        """Somebody waits for something that is on its way."""
        item.priority = FOREGROUND
        if item.id in self._queued:
            self._queues.setdefault(FOREGROUND, []).append(item)
        else:
            self._promoted.append(item.id)

    def answered(self, items: int = 0, roots: int = 0) -> None:
        """So many have come, or won't."""
        self._outstanding = max(self._outstanding - items, 0)
        self._roots_outstanding = max(self._roots_outstanding - roots, 0)

    def __bool__(self) -> bool:
        """Whether there is anything to be sent now."""
        if self._promoted or self._openings or FOREGROUND in self._queues:
            return True
        return bool(self._roots and self._roots_outstanding < _ROOTS_MAX) or bool(
            self._queues and self._outstanding < _OUTSTANDING_MAX
        )

    def take(self) -> list[bytes]:
        """What is to be sent now: roots first, then needs by priority, as few messages as they fit in."""
        room = max(_ROOTS_MAX - self._roots_outstanding, 0)
        roots, self._roots = self._roots[:room], self._roots[room:]
        self._roots_outstanding += len(roots)
        openings, self._openings = self._openings, []
        asks = openings + [
            Ask(root=flight.root, closure=flight.closure, push=flight.push, profile=flight.profile) for flight in roots
        ]
        for priority in sorted(self._queues):
            asks += self._take_items(priority)
        if self._promoted:
            promoted, self._promoted = self._promoted, []
            if asks:
                asks[0] = asks[0]._replace(promote=promoted)
            else:
                asks.append(Ask(promote=promoted))
        if asks and self._first:
            self._first = False
            asks[0] = asks[0]._replace(codec=self._codec, max_frame=self.max_frame)
        return [encode_ask(ask) for ask in asks]

    def _take_items(self, priority: int) -> list[Ask]:
        queue = self._queues.pop(priority)
        items = [item for item in queue if item.priority == priority and item.id in self._queued]
        room = len(items) if priority == FOREGROUND else max(_OUTSTANDING_MAX - self._outstanding, 0)
        if len(items) > room:
            self._queues[priority] = items[room:]
            items = items[:room]
        self._outstanding += len(items)
        self._queued.difference_update([item.id for item in items])
        return [_ask(items[start : start + _IDS_A_MESSAGE], priority) for start in range(0, len(items), _IDS_A_MESSAGE)]


def _ask(items: list[Item], priority: int) -> Ask:
    ids = [item.id for item in items]
    if all(isinstance(item.key, bytes) for item in items):
        return Ask(ids, [item.key for item in items], priority=priority)  # type: ignore[misc]
    keys = [(item.key, 0, 0) if isinstance(item.key, bytes) else item.key for item in items]
    digests, offsets, lengths = zip(*keys, strict=True)
    return Ask(ids, digests, offsets, lengths, priority)
