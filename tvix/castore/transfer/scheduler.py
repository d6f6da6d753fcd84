"""The heart of a client: one table of what is on its way and who waits for it. It does no input and output.

Whoever drives it sends what `outgoing` gives, hands in what arrives with `receive`, and says when a connection begins and ends.
What is here is answered at once; what is on its way is waited for, and made urgent, but never asked for again; the rest is asked
for, all in one message. Every item is verified as it arrives, before anybody sees it. What a server does against the protocol is an
error for everyone who waits; nobody waits for ever.

One thread calls all of it. `done` callables are called from within `receive`, `expire` and `lost`, and may call back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from tvix.castore.addresses import Castore
from tvix.castore.blobs.contents import BlobNotFound
from tvix.castore.blobs.interface import Buffer, StoreUnavailable
from tvix.castore.chunk_list import decode_chunks
from tvix.castore.chunking import BlobTooLarge
from tvix.castore.digests import Digest, print_digest
from tvix.castore.directory import Directory
from tvix.castore.transfer.asking import Asking
from tvix.castore.transfer.closure_flight import ClosureFlight, Lists
from tvix.castore.transfer.hot_set import Key
from tvix.castore.transfer.large_blob import LargeBlob, fits
from tvix.castore.transfer.messages import ANNOUNCEMENT, DIRECTORIES, FOREGROUND, Ask
from tvix.castore.transfer.near_end import NearEnd
from tvix.castore.transfer.receiving import LIFE_BYTES, Counts, Receiving
from tvix.castore.transfer.recorder import Recorder
from tvix.castore.transfer.waiting import Done, Item, Read, Taker, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE_BYTES_MAX = 1 << 20
"""A blob without a list is asked for as one item up to this size."""
_BLOBS_MAX = 4096
PATIENCE = 4
"""Deadlines that are waited while bytes come, but nothing that was asked for: a server may send what is of no use for ever."""


class Scheduler(Receiving):
    """Reads through `near` from the server that errors call `origin`.

    `trusts_lists`: chunks may be read before their blob is complete. `stored`: items may come compressed. `max_frame`: bytes after
    which the server closes a frame. `clock` is that of `expire`.
    """

    def __init__(
        self, near: Castore, origin: str, *, trusts_lists: bool, stored: bool = True, max_frame: int = 0,
        clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        self.near = NearEnd(near)
        self.origin = origin
        self.counts = Counts()
        self.announced: dict[Digest, bytes] = {}
        """Hot sets that the server keeps of the roots that were opened, encoded."""
        self._trusts_lists = trusts_lists
        self._clock = clock
        self._asking = Asking(stored, max_frame)
        self._connected = False
        self._reason = "there is no connection yet"
        self._heard = self._useful = clock()
        self._quiet_bytes = 0
        self._next_id = 1
        self._items: dict[Digest | Key, Item] = {}
        self._by_id: dict[int, Item | None] = {}
        self._blobs: dict[Digest, LargeBlob] = {}
        self._lists = Lists()
        self._recorder = Recorder(self.near, self._lists)
        self.ranges: dict[Key, Digest] = {}
        self._closures: dict[Digest, ClosureFlight] = {}
        self._opening: Ask | None = None
        self.opened_by_path: Digest | None = None
        """The root whose closure came, or comes, by the name of a store path."""
        self._kept: dict[Digest, Directory] = {}
        self._waiters: dict[Waiter, None] = {}
        self._woken: list[tuple[Waiter, object]] = []
        self._resumed: dict[Digest, LargeBlob] = {}
        self._surplus: set[int] = set()
        """Kinds of frames that may come once more, since a closure was asked for by path and, before an answer, by root."""
        self._spoiled: dict[Digest, Exception] = {}
        self._unasked_bytes = 0

    @property
    def used(self) -> list[Key]:
        """What was read, in order of first use: a recording."""
        return self._recorder.used

    # Asking.

    def read(
        self, digest: Digest, size: int, offset: int, length: int, done: Done, priority: int = FOREGROUND
    ) -> Sequence[Buffer] | None:
        """A range of a blob of `size` bytes, in pieces, if all of it is here; else None, and `done` is called later.

        `done` gets the pieces, or an error. The range ends where the blob does. Raises `WrongBlobSize` where near knows better.
        """
        length = min(length, size - offset)
        if length <= 0:
            return []
        blob = self._blobs.get(digest)
        if blob is None or blob.proven:
            recent = self.near.recent(digest)
            if recent is not None and len(recent) == size:
                self._recorder.use((Key(digest),))
                return [memoryview(recent)[offset : offset + length]]
            if digest not in self._items:
                contents = self.near.read(digest, size, offset, length)
                if contents is not None:
                    self._recorder.use_range(digest, size, offset, length, WHOLE_BYTES_MAX)
                    return [contents]
        read = Read(done, self._clock(), digest, size, offset, length, priority, self._wake)
        return self._begin(read)

    def _begin(self, read: Read) -> Sequence[Buffer] | None:
        if read.digest in self._spoiled:
            raise self._spoiled[read.digest]
        self._waiters[read] = None
        try:
            served = self._serve(read)
        except BlobTooLarge:
            del self._waiters[read]
            raise
        if served:
            self._waiters.pop(read, None)
            read.done = None
            return read.parts
        return None

    def serve(self, read: Read) -> None:
        """See `Owner`."""
        try:
            if read.done is not None and self._serve(read):
                self._wake(read, read.parts)
        except BlobTooLarge as error:
            self._wake(read, error)

    def _serve(self, read: Read) -> bool:
        """Have a read answered: whether that is now, else it waits for something."""
        if read.size > WHOLE_BYTES_MAX and self._lists_to_come(read):
            return False
        blob = self._large(read.digest, read.size)
        if blob is not None:
            self._recorder.use(blob.keys(read.offset, read.length))
            return blob.serve(read)
        self._recorder.use((Key(read.digest),))
        read.expect([None], [(read.offset, read.length)])
        self.want(read.digest, read.digest, read.size, read.priority, read)
        return False

    def _lists_to_come(self, read: Read) -> bool:
        """Whether a closure on its way may bring the list of a large blob: then it is waited for."""
        if read.digest in self._blobs or self._lists.get(read.digest) is not None or not self._trusts_lists:
            return False
        flight = next(iter(self._closures.values()), None)
        if flight is None:
            return False
        flight.reads.append(read)
        return True

    def _large(self, digest: Digest, size: int) -> LargeBlob | None:
        """What fetches a blob that comes in pieces, None for one that comes whole. Raises `BlobTooLarge`."""
        blob = self._blobs.get(digest)
        if blob is not None and blob.size == size:
            return blob
        encoded = self._lists.get(digest)
        chunks = None
        if encoded is not None:
            chunks = decode_chunks(encoded)
            if not fits(chunks, size):
                chunks = None
        if chunks is None and size <= WHOLE_BYTES_MAX:
            return None
        if len(self._blobs) >= _BLOBS_MAX:
            for idle in [blob for blob in self._blobs.values() if blob.idle][: _BLOBS_MAX // 4]:
                del self._blobs[idle.digest]
        blob = self._blobs[digest] = LargeBlob(self, digest, size, chunks, self._trusts_lists)
        return blob

    def want(
        self, key: Digest | Key, want: Digest | None, size: int | None, priority: int, taker: Taker | None, number: int = 0,
        elsewhere: Key | None = None,
    ) -> None:  # fmt: skip
        """See `Owner`."""
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = Item(self._next_id, key, want, size, priority)
            item.elsewhere = elsewhere
            self._by_id[item.id] = item
            self._next_id += 1
            self._asking.item(item)
        elif priority == FOREGROUND and item.priority != FOREGROUND:
            self.counts.promoted += 1
            self._asking.promote(item)
        if item.elsewhere is None:
            item.elsewhere = elsewhere
        if item.size is None:
            item.size = size
        if item.want is None:
            item.want = want
        if taker is not None:
            item.takers.append((taker, number))

    def directory(self, digest: Digest, done: Done) -> Directory | None:
        """A directory if it is here; else `done` is called with it, and what is below it comes in the same go.

        Raises `CorruptDirectory` where near is damaged.
        """
        directory = self._kept.get(digest) or self.near.directory(digest)
        if directory is not None:
            return directory
        waiter = Waiter(done, self._clock())
        for flight in self._closures.values():
            directory = flight.told.get(digest)
            if directory is not None:
                return directory
            if flight.expects(digest):
                break
        else:
            flight = self._open(ClosureFlight(digest, self.origin, push=False, profile=""))
        flight.waiting.setdefault(digest, []).append(waiter)
        self._waiters[waiter] = None
        return None

    def open_path(self, path: bytes, *, push: bool, profile: str = "") -> None:
        """Have the closure of what a store path is, and with `push` its hot set, come before it is known by its own name.

        `path` is the digest in its name. The answer is no more than likely: the question is lost with a connection, and unknown to
        older servers. So `open_root` follows once the root is known, and asks for what hasn't begun to come.
        """
        self._opening = Ask(path=path, closure=True, push=push, profile=profile)
        self._asking.opening(self._opening)

    def opening(self) -> bool:
        """Whether a path was asked for, and nothing has come of it yet."""
        return self._opening is not None and not self._asking.opens

    def open_root(self, root: Digest, *, push: bool, profile: str = "", done: Done) -> bool:
        """Have the closure of `root` come, and with `push` its hot set, in one question.

        True where the closure is here already: then only the hot set and the lists of large blobs come, and `done` isn't called.
        Otherwise it is called with the `Directory` of `root` once all of it is verified and near, or with what is wrong.
        """
        here = self._kept.get(root) or self.near.directory(root)
        flight = self._closures.get(root)
        if flight is None and (here is None or root != self.opened_by_path):
            self._give_up_opening()
            flight = self._open(ClosureFlight(root, self.origin, push, profile))
        if here is not None or flight is None:
            return True
        waiter = Waiter(done, self._clock())
        flight.waiters.append(waiter)
        self._waiters[waiter] = None
        return False

    def _give_up_opening(self) -> None:
        """A path's closure isn't waited for any more: it isn't asked for, or its answer is one too many."""
        if self._opening is not None:
            if not self._asking.withdraw():
                self._surplus = {ANNOUNCEMENT, DIRECTORIES} if self._opening.push else {DIRECTORIES}
            self._opening = None

    def _open(self, flight: ClosureFlight) -> ClosureFlight:
        self._closures[flight.root] = flight
        self._asking.root(flight)
        return flight

    def prefetch(self, blobs: Iterable[tuple[Digest, int]], priority: int) -> None:
        """Have blobs of known sizes on their way for whoever may want them."""
        sizes = {digest: size for digest, size in blobs if size and digest not in self._items}
        absent = self.near.absent(sizes.keys())
        for digest, size in sizes.items():
            if digest in absent:
                with suppress(BlobTooLarge):
                    blob = self._large(digest, size)
                    if blob is not None:
                        blob.fetch(priority)
                    else:
                        self.want(digest, digest, size, priority, None)

    def prefetch_range(self, digest: Digest, size: int, offset: int, length: int, priority: int) -> None:
        """The same for a range of a blob; all of it where its chunks aren't known or not believed."""
        blob = self._large(digest, size) if size and digest not in self._items else None
        if blob is None or not blob.believed:
            self.prefetch([(digest, size)], priority)
            return
        blob.fetch_range(offset, length, priority)

    def prefetch_keys(self, keys: Iterable[Key], priority: int) -> None:
        """The same for a hot set. Ranges of blobs are passed over: they can't be verified by themselves."""
        whole = [key.digest for key in keys if not key.offset and not key.length and key.digest not in self._items]
        absent = self.near.absent(whole)
        for digest in dict.fromkeys(whole):
            if digest in absent:
                self.want(digest, digest, None, priority, None)

    def leave(self, done: Done) -> bool:
        """Somebody no longer waits; whether he did. His `done` won't be called."""
        waiter = next((waiter for waiter in self._waiters if waiter.done == done), None)
        if waiter is None:
            return False
        del self._waiters[waiter]
        waiter.done = None
        if isinstance(waiter, Read) and (blob := self._blobs.get(waiter.digest)) is not None:
            blob.left(waiter)
        return True

    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def in_flight(self) -> int:
        """How many items and closures are on their way."""
        return len(self._items) + len(self._closures)

    # Time and connections.

    def connected(self) -> None:
        """A new connection: whatever hasn't arrived is asked for on it, by new names."""
        self._connected = True
        self._quiet_bytes = 0
        if not self._asking.opens:
            self._opening = None
        self._surplus = set()
        self._by_id = {}
        for number, item in enumerate(self._items.values(), 1):
            item.id = number
            self._by_id[number] = item
        self._next_id = len(self._by_id) + 1
        for flight in self._closures.values():
            flight.restart()
        self._asking.start(self._items.values(), self._closures.values())

    def lost(self, reason: str) -> None:
        """The connection is gone. Who waits goes on waiting, for the next one or for his deadline."""
        self._connected = False
        self._reason = reason
        self._by_id = {}

    def outgoing(self) -> list[bytes]:
        """Encoded `Ask`s to be sent now."""
        return self._asking.take() if self._connected else []

    @property
    def has_news(self) -> bool:
        """Whether `outgoing` has anything to give."""
        return self._connected and bool(self._asking)

    def alive(self, size: int) -> None:
        """So many bytes came from the server, be they part of a message only."""
        self._quiet_bytes += size
        if self._quiet_bytes >= LIFE_BYTES:
            self._quiet_bytes = 0
            self._heard = self._clock()

    def expire(self, deadline: float) -> float | None:
        """Let go of everyone who has waited for `deadline` seconds without a sign of life, or `PATIENCE` times that for nothing.

        Gives the seconds until the next might have.
        """
        if not self._waiters:
            return None
        now = self._clock()
        reason = f"no answer within {deadline:g} s" if self._connected else self._reason

        def due(waiter: Waiter) -> float:
            return min(max(waiter.since, self._heard) + deadline, max(waiter.since, self._useful) + PATIENCE * deadline)

        for waiter in [waiter for waiter in self._waiters if now >= due(waiter)]:
            self._wake(waiter, StoreUnavailable(origin=self.origin, reason=reason))
        self._tell()
        oldest = min(map(due, self._waiters), default=None)
        return None if oldest is None else max(oldest - now, 0.0)

    def stands_still(self, since: float, deadline: float) -> bool:
        """Whether the server, spoken to since then, would let a waiter down: see `expire`."""
        now = self._clock()
        return now - max(since, self._heard) >= deadline or now - max(since, self._useful) >= PATIENCE * deadline

    def fail(self, error: Exception) -> None:
        """Tell everyone who waits, and forget what is on its way."""
        items, self._items = self._items, {}
        self._by_id = {}
        self._closures = {}
        self._resumed = {}
        self._asking.start((), ())
        for item in items.values():
            item.fail(error)
        self._blobs = {digest: blob for digest, blob in self._blobs.items() if blob.proven}
        for waiter in list(self._waiters):
            self._wake(waiter, error)
        self._tell()

    def settle(self) -> bool:
        """Do what isn't urgent: write near what has come, go on hashing. Whether there is more of it."""
        self.near.settle()
        resumed, self._resumed = self._resumed, {}
        for blob in resumed.values():
            blob.advance()
        self._tell()
        return self.unsettled

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has anything to do. What a caller's own question completed is told by it, too."""
        return bool(self._resumed or self._woken) or self.near.unsettled

    def close(self) -> None:
        """Write near what came. Who waits is told that nothing will."""
        self.fail(StoreUnavailable(origin=self.origin, reason="its connection was closed here"))
        self.near.close()

    # What large blobs and items call.

    def resume(self, blob: LargeBlob) -> None:
        """See `Owner`."""
        self._resumed[blob.digest] = blob

    def forget(self, blob: LargeBlob, error: Exception) -> None:
        """See `Owner`."""
        self._blobs.pop(blob.digest, None)
        self._lists.forget(blob.digest)
        if blob.told:
            self._spoiled[blob.digest] = error
        for waiter in [waiter for waiter in self._waiters if isinstance(waiter, Read) and waiter.digest == blob.digest]:
            self._wake(waiter, error)

    def missing(self, item: Item) -> None:
        """The server doesn't have an item: a chunk may still be found in its blob."""
        del self._items[item.key]
        if item.elsewhere is not None:
            takers, item.takers = item.takers, []
            for taker, number in takers:
                self.want(item.elsewhere, item.want, item.size, item.priority, taker, number)
            return
        item.fail(BlobNotFound(digest=print_digest(item.key if isinstance(item.key, bytes) else item.key.digest)))
