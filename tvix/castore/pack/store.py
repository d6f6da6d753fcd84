"""A pack store: records of several kinds under one roof, appended in bulk, found through one index.

What is put is collected and written many records at a time; `sync` makes it durable and visible to other processes in two steps,
data then index, so that a crash at any point leaves whole records or none. Safe to share between threads. After a fork the child
starts with what was synced: the pack, the lock and what was pending stay the parent's.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import compress
from threading import RLock

from tvix.castore.blobs.interface import Buffer, Forgotten
from tvix.castore.compression import LEVEL, Compressor, Recent, decompress
from tvix.castore.pack.format import (
    BLOB,
    INDEX_FILE,
    PACK_BYTES_MAX,
    PACKS_DIRECTORY,
    PARTIAL_FILE,
    DamagedPack,
    Location,
    StoreFailed,
    index_key,
    raw_size,
)
from tvix.castore.pack.index import Index
from tvix.castore.pack.pending import Pending, compressed
from tvix.castore.pack.place import prepare
from tvix.castore.pack.reader import PackFiles, PackGone
from tvix.castore.pack.trim import mark_partial, room_for_packs, trim
from tvix.castore.pack.writer import PackWriter, Record
from tvix.errors import TvixError

_COMMIT_RECORDS = 1 << 16
_RECENT_BYTES = 4 << 20
_PACK_BYTES_MIN = 1 << 20


class PackStore:
    """The store in the directory `path`, which is made where it isn't there. Services over one store share it.

    Blobs are compressed by zstd at `level`, 0 for not at all. With `max_bytes`, old packs are dropped when all take more than that.
    A pack is full at `pack_bytes`; the default is the largest size, or a sixteenth of the bound. `partial` is for near ends.
    Raises `NotAPackStore`, `NewerFormat`, `StoreFailed`, `DiskFull`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        level: int = LEVEL,
        max_bytes: int | None = None,
        pack_bytes: int | None = None,
        partial: bool = False,
    ) -> None:
        self.path = os.path.abspath(path)
        self.max_bytes = max_bytes
        prepare(self.path)
        packs = os.path.join(self.path, PACKS_DIRECTORY)
        index_path = os.path.join(self.path, INDEX_FILE)
        if not os.path.exists(index_path) and os.listdir(packs):
            from tvix.castore.pack.rebuild import rebuild_index

            rebuild_index(self.path)
        self.index = Index(index_path)
        """Where each record lies, for those who look after the store."""
        self.files = PackFiles(packs)
        self._partial = partial or max_bytes is not None
        if self._partial:
            mark_partial(self.path)
        self._trimmed_at = -1
        if max_bytes is not None:
            pack_bytes = pack_bytes or max(_PACK_BYTES_MIN, min(PACK_BYTES_MAX, max_bytes // 16))
        self._writer = PackWriter(packs, self.index, pack_bytes)
        self._compressor = Compressor(level)
        self._recent = Recent(_RECENT_BYTES)
        self._lock = RLock()
        # A record moves from the first to the second to the index; lookups go the same way, so they never miss one on the move.
        self._buffered = Pending()
        self._written: dict[bytes, Location] = {}
        self._staged: dict[int, dict[bytes, Location]] = {}
        self._lost: set[int] = set()  # those of the staged that are no longer what they say
        self._failed: TvixError | None = None
        _stores.add(self)

    @property
    def partial(self) -> bool:
        """Whether records may refer to what isn't here, or any more: this process or another keeps the store so."""
        if not self._partial:
            self._partial = os.path.exists(os.path.join(self.path, PARTIAL_FILE))
        return self._partial

    def pending(self, key: bytes) -> Buffer | None:
        """What was put and isn't written yet, by index key: it can be read even when there is no room to write it."""
        found = self.pending_stored(key)
        return None if found is None else self._unpacked(key, found[1], found[0]) if found[0] else found[1]

    def pending_stored(self, key: bytes) -> tuple[int, bytes] | None:
        """The same as it was put; before it its size, where it came compressed."""
        return self._buffered.get(key)

    def locate(self, keys: Sequence[bytes]) -> list[Location | None]:
        """Where records lie, by index key, in the order asked: one transaction, however many."""
        if not self._buffered and not self._written:
            return self.index.get_many(keys)
        found: list[Location | None] = []
        unknown: list[int] = []
        for position, key in enumerate(keys):
            if key in self._buffered:
                self._flush()
            location = self._written.get(key)
            found.append(location)
            if location is None:
                unknown.append(position)
        for position, location in zip(unknown, self.index.get_many([keys[position] for position in unknown]), strict=True):
            found[position] = location
        return found

    def missing(self, kind: int, keys: Collection[bytes]) -> set[bytes]:
        """Those of `keys` that have no record of this kind."""
        prefix = bytes((kind,))
        names = [prefix + key for key in keys]
        pending = [name in self._buffered or name in self._written for name in names] if self._buffered or self._written else ()
        absent = {key for key, known in zip(keys, self.index.known(names), strict=True) if not known}
        return absent.difference(compress(keys, pending))

    def get(self, kind: int, key: bytes) -> Buffer | None:
        """The payload of a record, checked; None where there is none. Raises `DamagedPack`, `StoreFailed`."""
        return self.get_many(kind, (key,))[0]

    def get_many(self, kind: int, keys: Sequence[bytes]) -> list[Buffer | None]:
        """Payloads in the order asked: one look into the index, however many. What was dropped meanwhile isn't here."""
        asked = [index_key(kind, key) for key in keys]
        found: list[Buffer | None] = [self.pending(key) for key in asked] if self._buffered else [None] * len(asked)
        wanted = [position for position, payload in enumerate(found) if payload is None]
        for position, location in zip(wanted, self.locate([asked[position] for position in wanted]), strict=True):
            if location is not None:
                with suppress(Forgotten):
                    found[position] = self.payload(asked[position], location)
        return found

    def payload(self, key: bytes, location: Location) -> Buffer:
        """The contents of a record that was located. Raises `Forgotten`, `DamagedPack`, `StoreFailed`."""
        size, stored = self.stored(key, location)
        return self._unpacked(key, stored, size) if size else stored

    def stored(self, key: bytes, location: Location) -> tuple[int, Buffer]:
        """A record as it lies, looked for again where its pack was dropped since; before it its size, where it is compressed."""
        try:
            return raw_size(key, location), self.files.record(key, location)
        except PackGone:
            again = self.index.get(key)
            try:
                if again is not None:
                    return raw_size(key, again), self.files.record(key, again)
            except PackGone:
                pass
            raise self.gone(f"the pack that holds {key.hex()}") from None

    def part(self, key: bytes, location: Location, offset: int, length: int) -> Buffer:
        """A range of the contents of a record that was located. Raises as `payload` does."""
        if not raw_size(key, location):
            try:
                return self.files.part(location, offset, length)
            except PackGone:
                return memoryview(self.payload(key, location))[offset : offset + length]
        contents = self._recent.get(key)
        if contents is None:
            contents = self.payload(key, location)
            self._recent.keep(key, contents)
        return memoryview(contents)[offset : offset + length]

    def gone(self, what: str) -> TvixError:
        """The error for something that the index led to and that isn't there."""
        if self.partial:
            self._forget_gone()
            return Forgotten(what=what, origin=self.path)
        return DamagedPack(path=self.path, offset=0, reason=f"{what} is gone")

    def _forget_gone(self) -> None:
        """Another process may drop a pack that this one has filled, but not yet told the index what is in it."""
        with self._lock:
            numbers = {location[0] for location in self._written.values()}
            gone = {number for number in numbers if self.index.end(number) is None}
            if gone:
                self._written = {key: location for key, location in self._written.items() if location[0] not in gone}

    def _unpacked(self, key: bytes, frame: Buffer, size: int) -> bytes:
        try:
            return decompress(frame, size)
        except ValueError as error:
            raise DamagedPack(path=self.path, offset=0, reason=f"{key.hex()} can't be decompressed: {error}") from None

    def put(self, kind: int, key: bytes, payload: Buffer) -> None:
        """Store a record unless there is one. Raises `DiskFull`, `StoreFailed`: then try again, or `close`."""
        self.put_many(kind, ((key, payload),))

    def put_many(self, kind: int, items: Iterable[tuple[bytes, Buffer]]) -> None:
        """Store records; for many the cheaper way."""
        with self._lock:
            for key, payload in items:
                self._put(index_key(kind, key), payload, 0)

    def put_frames(self, items: Iterable[tuple[bytes, Buffer, int]]) -> None:
        """Store blobs that are compressed already: key, zstd frame, size of its contents."""
        with self._lock:
            for key, frame, size in items:
                self._put(index_key(BLOB, key), frame, size)

    def _put(self, name: bytes, payload: Buffer, size: int) -> None:
        if name not in self._buffered and name not in self._written:
            if self._buffered.is_full:
                self._make_room()
            self._buffered.add(name, payload, size)

    def _make_room(self) -> None:
        self._flush()

    def stage(self, records: Sequence[tuple[bytes, Buffer]], staged: dict[bytes, Location]) -> None:
        """Write records (index key, payload) that nobody finds before `publish` tells of them, and note in `staged` where they lie.

        What is stored already is noted but not written again. Every `staged` ends with `publish` or `discard`.
        """
        with self._lock:
            self._staged[id(staged)] = staged
            self._check_staged(staged)
            wanted = {key: payload for key, payload in records if key not in staged}
            new: list[Record] = []
            for (key, payload), location in zip(wanted.items(), self.locate(list(wanted)), strict=True):
                if location is None:
                    new.append((key, payload, 0))
                else:
                    staged[key] = location
            fresh = compressed(new, self._compressor)
            done = 0
            while done < len(fresh):
                with self._losing():
                    locations = self._writer.append(fresh, done)
                for location in locations:
                    staged[fresh[done][0]] = location
                    done += 1
            self._bound()

    def publish(self, staged: dict[bytes, Location]) -> None:
        """Make staged records part of the store."""
        with self._lock:
            self._check_staged(staged)
            self._staged.pop(id(staged), None)
            self._writer.keep(staged.values())
            self._written.update(staged)

    def discard(self, staged: dict[bytes, Location]) -> None:
        """Forget staged records, and free their space where nothing lies behind them."""
        with self._lock:
            self._lost.discard(id(staged))
            if self._staged.pop(id(staged), None) is not None:
                alive = [location for other in self._staged.values() for location in other.values()]
                self._writer.reclaim(staged.values(), alive)

    def update(self, kind: int, keys: Collection[bytes], change: Callable[[dict[bytes, Buffer]], Mapping[bytes, Buffer]]) -> None:
        """Replace records, durably and so that no other writer's work is lost: `change` gets those of `keys` that are there, and
        says what shall be there instead. It is called again where another process was faster, and must not use the store.
        """
        with self._lock:
            self.sync()
            while not self._try_update(kind, list(keys), change):
                pass

    def _try_update(
        self, kind: int, keys: Sequence[bytes], change: Callable[[dict[bytes, Buffer]], Mapping[bytes, Buffer]]
    ) -> bool:
        """One attempt: the records are written first, and the index takes them if it still knows what they were made from."""
        asked = [index_key(kind, key) for key in keys]
        known = dict(zip(asked, self.index.get_many(asked), strict=True))
        current: dict[bytes, Buffer] = {}
        for key, location in known.items():
            if location is not None:
                with suppress(Forgotten):
                    current[key[1:]] = self.payload(key, location)
        records: list[Record] = []
        for key, payload in change(dict(current)).items():
            location = known.get(index_key(kind, key))
            records.append((index_key(kind, key), bytes(payload), 1 if location is None else location[3] + 1))
        if not records:
            return True
        mark = self._writer.mark()
        unchanged = False

        def run(get: Callable[[bytes], Location | None]) -> tuple[Mapping[bytes, Location], Mapping[int, int]]:
            nonlocal unchanged
            unchanged = all(get(key) == known[key] for key in written)
            return (written, self._writer.ends) if unchanged else ({}, {})

        try:
            written = dict(zip((key for key, _, _ in records), self._append(records), strict=True))
            with self._losing():
                self._writer.sync()
            self.index.update(run)
            self._writer.keep(written.values() if unchanged else ())
        finally:
            if not unchanged:
                self._writer.rewind(mark)
        self._writer.ends = {}
        return unchanged

    def iterate(self, kind: int) -> Iterator[tuple[bytes, Buffer]]:
        """(key, payload) of all records of a kind."""
        with self._lock:
            self._flush()
            pending = {key[1:]: location for key, location in self._written.items() if key[0] == kind}
        for key, location in self.index.iterate(kind):
            if key not in pending:
                with suppress(Forgotten):
                    yield key, self.payload(index_key(kind, key), location)
        for key, location in pending.items():
            with suppress(Forgotten):
                yield key, self.payload(index_key(kind, key), location)

    def sync(self) -> None:
        """Make everything put so far durable, and visible to other processes. Raises `DiskFull`, `StoreFailed`."""
        with self._lock:
            self._flush()
            self._commit()
            self._bound()

    def trim(self, max_bytes: int) -> int:
        """Drop old packs until the others have at most `max_bytes`, but none that somebody writes: how many bytes went.

        From then on the store counts as one that forgets. Raises `DiskFull`, `StoreFailed`.
        """
        with self._lock:
            self._flush()
            self._commit()
            dropped = trim(self.path, self.index, max_bytes)
            self.files.let_go()
            return dropped

    def _bound(self) -> None:
        """Look after the bound, when a pack has become full or nothing else is to do."""
        if self.max_bytes is not None and self._writer.number != self._trimmed_at:
            self._trimmed_at = self._writer.number
            self.trim(room_for_packs(self.path, self.max_bytes))

    def close(self) -> None:
        """Sync, and let go of files. What can't be synced is gone, and its space free. Harmless twice."""
        with self._lock:
            committed = False
            try:
                self.sync()
                committed = True
            finally:
                try:
                    self._writer.close(committed)
                finally:
                    self._forget()
                    self.index.close()
                    self.files.close()

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Around what may find that the disk has lost what was written to the pack since the last sync: that is forgotten.

        A near end starts over in another pack. Elsewhere somebody may have been promised what is gone: every later sync fails.
        """
        try:
            yield
        except TvixError as error:
            if self._writer.unsafe:
                number = self._writer.number
                self._written = {key: location for key, location in self._written.items() if location[0] != number}
                self._lost |= {
                    name for name, staged in self._staged.items() if any(location[0] == number for location in staged.values())
                }
                if not self.partial:
                    self._failed = error
                with suppress(TvixError):
                    self._writer.close(committed=False)
            raise

    def _check_staged(self, staged: dict[bytes, Location]) -> None:
        if id(staged) in self._lost:
            raise StoreFailed(path=self.path, action="written", reason="the disk has lost what was written before")

    def _flush(self) -> None:
        """Write what is collected, but for what another process stored meanwhile."""
        with self._lock:
            buffered = self._buffered
            if not buffered:
                return
            keys = buffered.keys()
            for key, location in zip(keys, self.index.get_many(keys), strict=True):
                if location is not None:
                    buffered.remove(key)
            records = buffered.records(self._compressor)
            done = 0
            while done < len(records):
                with self._losing():
                    locations = self._writer.append(records, done)
                self._writer.keep(locations)
                for location in locations:
                    key = records[done][0]
                    self._written[key] = location
                    buffered.remove(key)
                    done += 1
            if len(self._written) >= _COMMIT_RECORDS:
                self._commit()
            self._bound()

    def _append(self, records: Sequence[Record]) -> list[Location]:
        locations: list[Location] = []
        while len(locations) < len(records):
            with self._losing():
                locations += self._writer.append(records, len(locations))
        return locations

    def _commit(self) -> None:
        if self._failed is not None:
            raise type(self._failed)(**self._failed.fields)
        if self._written or self._writer.ends:
            with self._losing():
                self._writer.sync()
            self.index.commit(self._written, self._writer.ends)
            self._written.clear()
            self._writer.ends = {}

    def _forget(self) -> None:
        for held in (self._buffered, self._recent, self._written, self._staged, self._lost):
            held.clear()

    def after_fork(self) -> None:
        """In a child, before anything else runs there."""
        self._lock = RLock()
        self.files.after_fork()
        self._writer.after_fork()
        self._forget()


_stores: weakref.WeakSet[PackStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_stores):
        store.after_fork()


os.register_at_fork(after_in_child=_after_fork)
