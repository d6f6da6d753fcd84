"""One stream of `Fetch`, without threads or sockets: asks go in, frames come out.

`receive` does nothing but decode, count and put aside, so whoever reads asks is never held up by the store or by a slow client; all
else happens in `next`. Memory is bounded whatever a client asks: by what may be outstanding (`tvix.grpc_api.fetch_queue`) and by
one frame, of which large ones share what there is for all streams (`tvix.grpc_api.fetch_memory`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from tvix.castore.blobs.interface import BlobService, Buffer
from tvix.castore.digests import Digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.transfer.hot_set import KEY_BYTES, KEYS_MAX, PROFILE_BYTES_MAX, HotSetService, decode_keys
from tvix.castore.transfer.messages import (
    ANNOUNCED,
    ANNOUNCEMENT,
    AS_STORED,
    DIRECTORIES,
    FOREGROUND,
    FRAME_BYTES,
    HOT_SET,
    Ask,
    Frame,
    decode_ask,
    frame_head,
)
from tvix.grpc_api.closure_frames import ClosureCache
from tvix.grpc_api.fetch_items import ItemReader
from tvix.grpc_api.fetch_memory import SMALL_BYTES, FetchMemory
from tvix.grpc_api.fetch_queue import STREAM_IDS_MAX, STREAM_MESSAGES_MAX, Block, Budget, FetchQueue, TooMuchAsked
from tvix.grpc_api.zstd_frames import ZstdFrames

MAX_FRAME_BYTES = 4 << 20
"""A client that asks for larger frames gets these."""
OPENINGS_MAX = 16
"""Roots whose closure, hot set or record may wait at a time."""


class FetchSource:
    """What all streams of a server share."""

    def __init__(
        self,
        blobs: BlobService,
        directories: DirectoryService,
        hot_sets: HotSetService | None = None,
        *,
        closures: ClosureCache | None = None,
        budget: Budget | None = None,
        memory: FetchMemory | None = None,
        root_of: Callable[[bytes], Digest | None] | None = None,
    ) -> None:
        """`root_of` gives the directory that a store path is, by the digest of its name."""
        self.blobs = blobs
        self.directories = directories
        self.hot_sets = hot_sets
        self.closures = closures or ClosureCache(blobs, directories)
        self.budget = budget or Budget()
        self.memory = memory or FetchMemory()
        self.root_of = root_of or (lambda _path: None)


class FetchSession:
    """`receive` and `finish` may be called by another thread than `next` and `close`."""

    def __init__(self, source: FetchSource, *, may_write: bool) -> None:
        self._source = source
        self._may_write = may_write
        self._zstd = ZstdFrames()
        self._items = ItemReader(source.blobs, source.directories, self._zstd)
        self._inbox: deque[tuple[Ask, Block | None]] = deque()
        self._queue = FetchQueue()
        self._openings: deque[Ask] = deque()
        self._closures: deque[Iterator[list[bytes]]] = deque()
        self._closure_was_last = False
        self._codec = 0
        self._max_frame = FRAME_BYTES
        self._next_announced = ANNOUNCED
        # What was taken in and what was dealt with are counted by different threads, each its own.
        self._ids_in = self._ids_out = self._asks_in = self._asks_out = self._openings_in = self._openings_out = 0
        self._promoted_in = self._promoted_out = 0
        self._room = 0  # taken for the frame that was given out last
        self._finished = False
        self._closed = False
        self._closing = Lock()

    def receive(self, message: Buffer) -> None:
        """An `Ask`; after `close` nobody answers it. Raises `MalformedMessage`, `TooMuchAsked`: the stream is to be ended then."""
        ask = decode_ask(message)
        if ask.ids and max(ask.ids) >= ANNOUNCED:
            raise MalformedMessage(what="ask", reason=f"id {max(ask.ids)} is the server's to give", offset=0)
        if len(ask.profile.encode()) > PROFILE_BYTES_MAX or len(ask.record) > KEYS_MAX * KEY_BYTES:
            raise TooMuchAsked(
                what="a hot set with a longer profile or more keys", limit=f"{PROFILE_BYTES_MAX} bytes and {KEYS_MAX}"
            )
        decode_keys(ask.record)
        if _opens(ask):
            self._openings_in += 1
        self._promoted_in += len(ask.promote)
        self._asks_in += 1
        self._check(len(ask.ids))
        with self._closing:  # what is taken later would never be given back
            if self._closed:
                return
            self._source.budget.take(len(ask.ids))
            self._ids_in += len(ask.ids)
        block = Block(ask.ids, ask.digests, ask.offsets, ask.lengths, ask.priority) if ask.ids else None
        record = bytes(ask.record) if _opens(ask) else b""
        self._inbox.append((ask._replace(ids=(), digests=(), offsets=(), lengths=(), record=record), block))

    def finish(self) -> None:
        """No more asks come."""
        self._finished = True

    @property
    def idle(self) -> bool:
        """Whether nothing is left to send, nor can be until something is asked."""
        return not (self._inbox or self._openings or self._closures) and self._queue.priority() is None

    @property
    def over(self) -> bool:
        """Whether the stream is done."""
        return self._finished and self.idle

    def next(self) -> Sequence[Buffer] | None:
        """The next message, in pieces to be sent one behind the other; None where there is none for now. The last was sent.

        Raises what reading from the store raises, and `ItemTooLarge`.
        """
        self._give_back()
        while True:
            while self._inbox:
                self._sort_in(*self._inbox.popleft())
            if self._openings:
                frame = self._open(self._openings.popleft())
                if frame is not None:
                    return frame
                continue
            priority = self._queue.priority()
            if self._closures and not (self._closure_was_last and priority == FOREGROUND):
                part = next(self._closures[0], None)
                if part is None:
                    self._closures.popleft()
                    self._openings_out += 1
                    continue
                self._closure_was_last = True
                return part
            self._closure_was_last = False
            return None if priority is None else self._next_items()

    def close(self) -> None:
        """Forget what was asked. Harmless twice."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._inbox.clear()
        self._items.close()
        self._give_back()
        self._source.budget.give_back(self._ids_in - self._ids_out)
        self._ids_out = self._ids_in

    def _check(self, ids: int) -> None:
        """Raises `TooMuchAsked` where that many ids more, or what else was just counted, is more than one stream may have."""
        if self._openings_in - self._openings_out > OPENINGS_MAX:
            raise TooMuchAsked(what="closures, hot sets and records", limit=OPENINGS_MAX)
        if max(self._ids_in + ids - self._ids_out, self._promoted_in - self._promoted_out) > STREAM_IDS_MAX:
            raise TooMuchAsked(what="ids of one client", limit=STREAM_IDS_MAX)
        if self._asks_in - self._asks_out + len(self._queue) > STREAM_MESSAGES_MAX:
            raise TooMuchAsked(what="messages of one client", limit=STREAM_MESSAGES_MAX)

    def _sort_in(self, ask: Ask, block: Block | None) -> None:
        if ask.codec:
            self._codec = ask.codec
        if ask.max_frame:
            self._max_frame = min(ask.max_frame, MAX_FRAME_BYTES)
        if block is not None:
            self._queue.add(block)
        if ask.promote:
            self._queue.promote(ask.promote)
            self._promoted_out += len(ask.promote)
        if _opens(ask):
            self._openings.append(ask)
        self._asks_out += 1

    def _open(self, ask: Ask) -> list[bytes] | None:
        """What the opening of a root brings at once: its announcement, if any."""
        found = Digest(ask.root) if ask.root else self._source.root_of(ask.path)
        if found is None:
            self._openings_out += 1
            return [frame_head(Frame(kind=DIRECTORIES), 0)]
        root = found
        hot_sets = self._source.hot_sets
        if ask.record and hot_sets is not None and self._may_write:
            hot_sets.put_hot_set(root, ask.profile, bytes(ask.record))
        if not ask.closure:
            self._openings_out += 1
        else:
            compressed = self._codec == AS_STORED
            self._closures.append(self._source.closures.frames(root, self._zstd, compressed=compressed))
        if not ask.push:
            return None
        packed = (hot_sets.get_hot_set(root, ask.profile) if hot_sets is not None else None) or b""
        keys = list(decode_keys(packed))
        room = STREAM_IDS_MAX - (self._ids_in - self._ids_out)
        try:
            del keys[max(room, 0) :]
            self._source.budget.take(len(keys))
        except TooMuchAsked:
            keys = []
        self._ids_out -= len(keys)  # they are outstanding without having been received
        first = self._next_announced
        self._next_announced += len(keys)
        payload = bytes(packed[: len(keys) * KEY_BYTES])
        if keys:
            digests, offsets, lengths = zip(*keys, strict=True)
            self._queue.add(Block(range(first, self._next_announced), digests, offsets, lengths, HOT_SET))
        frame = Frame(kind=ANNOUNCEMENT, root=root, first=first)
        return [frame_head(frame, len(payload)), payload]

    def _next_items(self) -> list[Buffer]:
        wanted = self._queue.peek(self._items.guess(self._max_frame))
        memory = self._source.memory
        while True:
            with memory.reading:
                answered, frame, pieces = self._items.read(wanted, self._max_frame, as_stored=self._codec == AS_STORED)
            size = sum(map(len, pieces))
            if size <= max(SMALL_BYTES, self._room):
                break
            self._give_back()
            if memory.try_take(size):
                self._room = size
                break
            del frame, pieces
            memory.take(size)
            self._room = size
        self._queue.taken(answered)
        self._ids_out += len(answered)
        self._source.budget.give_back(len(answered))
        return [frame_head(frame, size), *pieces]

    def _give_back(self) -> None:
        if self._room:
            self._source.memory.give_back(self._room)
            self._room = 0


def _opens(ask: Ask) -> bool:
    return bool(ask.root or ask.path) and bool(ask.push or ask.closure or ask.record)
