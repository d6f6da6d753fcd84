"""What a server says, taken apart and verified: the part of the scheduler that stands between the network and those who wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from blake3 import blake3

from tvix.castore.blobs.contents import WrongBlobSize
from tvix.castore.blobs.interface import Buffer
from tvix.castore.chunking import CHUNK_BYTES_MAX
from tvix.castore.digests import Digest, print_digest
from tvix.castore.directory import Directory
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.transfer.asking import Asking
from tvix.castore.transfer.closure_flight import ClosureFlight, Lists
from tvix.castore.transfer.closure_message import decode_closure_part
from tvix.castore.transfer.framing import MESSAGE_BYTES_MAX
from tvix.castore.transfer.hot_set import Key, decode_keys
from tvix.castore.transfer.large_blob import LargeBlob, corrupt
from tvix.castore.transfer.messages import (
    ANNOUNCED,
    ANNOUNCEMENT,
    DIRECTORIES,
    FOREGROUND,
    HOT_SET,
    ITEMS,
    WHOLE_ZSTD,
    Ask,
    Frame,
    decode_frame,
)
from tvix.castore.transfer.near_end import NearEnd
from tvix.castore.transfer.unpacking import unpack
from tvix.castore.transfer.waiting import Item, Read, Waiter
from tvix.errors import EX_DATAERR, TvixError

LIFE_BYTES = 64 << 10
"""So much from the server, or an item that somebody waits for, is a sign of life; a trickle isn't."""
UNASKED_BYTES_MAX = 64 << 20
"""What is kept of a pushed hot set that nobody has asked for."""
ITEM_BYTES_MAX = CHUNK_BYTES_MAX


class ServerMisbehaves(TvixError):
    """A server says something that the protocol doesn't allow."""

    identifier = "castore.server-misbehaves"
    message = "store {origin} breaks the protocol: {reason}"
    hint = "it is damaged or lies, or something between here and there changes what it says"
    exit_code = EX_DATAERR


class Counts:
    """For people: what became urgent after it was asked for, bytes that came before anybody waited, bytes that nobody needed."""

    __slots__ = ("prefetched_bytes", "promoted", "wasted_bytes")

    def __init__(self) -> None:
        self.promoted = 0
        self.prefetched_bytes = 0
        self.wasted_bytes = 0


class Receiving:
    """The state that arriving messages change; `Scheduler` is the rest."""

    near: NearEnd
    origin: str
    _asking: Asking
    _items: dict[Digest | Key, Item]
    _by_id: dict[int, Item | None]
    _blobs: dict[Digest, LargeBlob]
    _lists: Lists
    ranges: dict[Key, Digest]
    _closures: dict[Digest, ClosureFlight]
    _opening: Ask | None
    opened_by_path: Digest | None
    _surplus: set[int]
    _kept: dict[Digest, Directory]
    _waiters: dict[Waiter, None]
    _woken: list[tuple[Waiter, object]]
    _quiet_bytes: int
    _useful: float
    _clock: Callable[[], float]
    _unasked_bytes: int
    counts: Counts
    announced: dict[Digest, bytes]

    def receive(self, message: Buffer) -> None:
        """A `Frame` from the server.

        Raises `ServerMisbehaves`, after everyone who waits was told; the connection is of no use then.
        """
        try:
            frame = decode_frame(message)
            self.alive(len(message))
            if frame.kind == ITEMS:
                self._asking.answered(items=len(frame.ids) + len(frame.missing))
                self._take_items(frame)
                if frame.missing:
                    self._take_missing(frame.missing)
            elif frame.kind == DIRECTORIES:
                self._take_directories(frame)
            elif frame.kind == ANNOUNCEMENT:
                self._take_announcement(frame)
        except (ServerMisbehaves, MalformedMessage) as error:
            wrong = error if isinstance(error, ServerMisbehaves) else ServerMisbehaves(origin=self.origin, reason=str(error))
            self.fail(wrong)
            raise wrong from None
        self._tell()

    def alive(self, size: int) -> None:
        """See `Scheduler`."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """See `Scheduler`."""
        raise NotImplementedError

    def serve(self, read: Read) -> None:
        """See `Scheduler`."""
        raise NotImplementedError

    def missing(self, item: Item) -> None:
        """See `Scheduler`."""
        raise NotImplementedError

    def _take_items(self, frame: Frame) -> None:
        payload = frame.payload
        by_id = self._by_id
        offset = 0
        for number, size, length in zip(frame.ids, frame.sizes, frame.lengths, strict=True):
            try:
                item = by_id.pop(number)
            except KeyError:
                self._misbehaves(f"item {number} comes although it wasn't asked for, or came before")
            stored = payload[offset : offset + length]
            offset += length
            if item is None or self._items.get(item.key) is not item:
                self.counts.wasted_bytes += length
                continue  # it was announced, and came before by another name
            if size > ITEM_BYTES_MAX or length > size:
                self._misbehaves(f"item {number} of {length} bytes is said to have {size}")
            self._take_item(item, size, stored, length)

    def _take_item(self, item: Item, size: int, stored: Buffer, length: int) -> None:
        del self._items[item.key]
        if item.size is not None and size != item.size and not isinstance(item.key, bytes):
            item.fail(_wrong_size(item, size))
            return
        contents = stored
        if length != size:
            try:
                contents = unpack(stored, size)
            except MalformedMessage:
                self._items[item.key] = item
                raise
        digest = Digest(blake3(contents).digest())
        if item.want is not None and digest != item.want:
            whose = item.elsewhere.digest if item.elsewhere is not None else item.key
            item.fail(corrupt(whose if isinstance(whose, bytes) else whose.digest, self.origin, digest))
            return
        if item.size is not None and size != item.size:
            self.near.keep(digest, contents, stored)
            item.fail(_wrong_size(item, size))
            return
        self._useful = self._clock()
        if item.takers or item.priority != HOT_SET or self._may_keep(size):
            self.near.keep(digest, contents, stored)
            if isinstance(item.key, Key) and not item.takers:
                self.ranges[item.key] = digest
        if item.priority == FOREGROUND:
            self.alive(LIFE_BYTES)
        else:
            self.counts.prefetched_bytes += length
        for taker, number in item.takers:
            taker.take(number, contents, digest)

    def _may_keep(self, size: int) -> bool:
        self._unasked_bytes += size
        return self._unasked_bytes <= UNASKED_BYTES_MAX

    def _take_missing(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            try:
                item = self._by_id.pop(number)
            except KeyError:
                self._misbehaves(f"item {number} is said to be missing although it wasn't asked for")
            if item is not None and self._items.get(item.key) is item:
                self.missing(item)

    def _take_announcement(self, frame: Frame) -> None:
        """A hot set that is on its way by the server's names for it. What is here already is dropped when it comes."""
        flight = self._flight(Digest(frame.root))
        if flight is None or not flight.push:
            if ANNOUNCEMENT not in self._surplus:
                self._misbehaves("a hot set comes that wasn't asked for")
            self._surplus.discard(ANNOUNCEMENT)
            flight = None
        else:
            flight.push = False
        payload = self._whole(frame)
        if payload and frame.first < ANNOUNCED:
            self._misbehaves(f"a hot set has ids from {frame.first} on")
        keys = list(decode_keys(payload))
        self.announced[Digest(frame.root)] = bytes(payload)
        absent = self.near.absent({key.digest for key in keys})
        for number, key in enumerate(keys, frame.first):
            name: Digest | Key = key if key.offset or key.length else key.digest
            item = self._items.get(name)
            if number in self._by_id:
                self._misbehaves(f"id {number} is announced twice")
            useful = isinstance(name, bytes) or (key.length > 0 and key.digest not in self._blobs)  # else it may have come already
            if item is None and useful and key.digest in absent:
                want = name if isinstance(name, bytes) else None
                item = self._items[name] = Item(number, name, want, key.length or None, HOT_SET)
            self._by_id[number] = item
        if flight is not None and not flight.closure:
            self._closures.pop(flight.root, None)
            self._asking.answered(roots=not flight.unasked)

    def _flight(self, root: Digest) -> ClosureFlight | None:
        """What brings a root. The first one that wasn't asked for by name is that of the path which was."""
        flight = self._closures.get(root)
        if flight is None and self._opening is not None:
            flight = self._closures[root] = ClosureFlight(root, self.origin, self._opening.push, self._opening.profile)
            flight.unasked = True
            self._opening = None
            self.opened_by_path = root
        return flight

    def _take_directories(self, frame: Frame) -> None:
        root = Digest(frame.root)
        if not root and (self._opening is not None or DIRECTORIES in self._surplus):
            self._opening = None  # the server doesn't have that path
            self._surplus = set()
            return
        flight = self._flight(root)
        if flight is None or not flight.closure:
            if DIRECTORIES not in self._surplus:
                self._misbehaves("a closure comes that wasn't asked for")
            if not frame.more:
                self._surplus.discard(DIRECTORIES)
            return
        part = decode_closure_part(self._whole(frame))
        self._lists.learn(part)
        try:
            for directory in flight.take(part):
                self._useful = self._clock()
                for waiter in flight.waiting.pop(directory.digest, ()):
                    self._wake(waiter, directory)
            if frame.more:
                return
            children_first = flight.finish()
        except TvixError as error:
            self._end(flight, error)
            return
        if not self.near.keep_directories(children_first):
            self._kept.update(flight.told)
        self._end(flight, flight.told[root])

    def _end(self, flight: ClosureFlight, result: object) -> None:
        """A closure is complete, or never will be."""
        flight.closure = False
        if not flight.push or isinstance(result, Exception):
            self._closures.pop(flight.root, None)
            self._asking.answered(roots=not flight.unasked)
        for waiter in flight.everyone():
            self._wake(waiter, result)
        reads, flight.reads = flight.reads, []
        flight.told = {}
        for read in reads:
            self.serve(read)

    def _whole(self, frame: Frame) -> Buffer:
        """The payload of a closure or an announcement."""
        if frame.codec != WHOLE_ZSTD:
            return frame.payload
        limit = self._asking.max_frame + MESSAGE_BYTES_MAX
        if frame.raw_size > limit:
            self._misbehaves(f"a frame is said to have {frame.raw_size} bytes where {limit} are the most")
        return unpack(frame.payload, frame.raw_size)

    def _wake(self, waiter: Waiter, result: object) -> None:
        """Have somebody told, once the table is in order again. Harmless twice."""
        if waiter in self._waiters:
            del self._waiters[waiter]
            self._woken.append((waiter, result))

    def _tell(self) -> None:
        woken = self._woken
        while woken:
            self._woken = []
            for waiter, result in woken:
                done, waiter.done = waiter.done, None
                if done is not None:
                    done(result)
            woken = self._woken

    def _misbehaves(self, reason: str) -> NoReturn:
        raise ServerMisbehaves(origin=self.origin, reason=reason)


def _wrong_size(item: Item, size: int) -> WrongBlobSize:
    digest = item.key if isinstance(item.key, bytes) else item.key.digest
    return WrongBlobSize(digest=print_digest(digest), said=item.size, actual=size)
