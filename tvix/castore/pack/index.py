"""The index of a pack store: an LMDB file that says where each record lies and how far each pack is committed.

LMDB must be opened by the process that uses it, so it is opened at the first question and again after a fork. Its map has a size
that only grows: by us when it is full, by adoption when another process grew it. A map may be resized only while no transaction is
open in the process, hence one lock around short transactions; they take microseconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from threading import Lock
from typing import TypeVar

from tvix.castore.pack.format import LOCATION, DiskFull, Location, StoreFailed, end_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    import lmdb

T = TypeVar("T")

_MAP_BYTES = 64 << 20
_BATCH = 1024

_left_behind: list[object] = []
"""Environments inherited by fork: to close them would take the parent's locks away, so they are kept and never used."""


class Index:
    """`path` is the LMDB file. Safe to share between threads."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = Lock()
        self._environment: lmdb.Environment | None = None

    def get_many(self, keys: Collection[bytes]) -> list[Location | None]:
        """The locations of `keys`, in their order."""
        found = self._read(lambda transaction: [transaction.get(key) for key in keys])
        unpack = LOCATION.unpack
        return [None if value is None else unpack(value) for value in found]

    def get(self, key: bytes) -> Location | None:
        """The location of one record."""
        return self.get_many((key,))[0]

    def end(self, number: int) -> int | None:
        """How many bytes of a pack are committed, None for a pack that the index doesn't know."""
        value: bytes | None = self._read(lambda transaction: transaction.get(end_key(number)))
        return None if value is None else int.from_bytes(value, "little")

    def iterate(self, kind: int) -> Iterator[tuple[bytes, Location]]:
        """(key without its kind, location) of all records of a kind, ascending; what is added meanwhile may be among them."""
        prefix = bytes((kind,))
        after = prefix
        while True:
            batch = self._read(lambda transaction, after=after: _batch(transaction, prefix, after))
            for key, value in batch:
                yield key[1:], LOCATION.unpack(value)
            if len(batch) < _BATCH:
                return
            after = batch[-1][0] + b"\0"

    def commit(self, entries: Mapping[bytes, Location], ends: Mapping[int, int]) -> None:
        """Make records known, all or none; what is known already is left as it is. Durable on return."""
        self.update(lambda _get: (entries, ends))

    def update(
        self, change: Callable[[Callable[[bytes], Location | None]], tuple[Mapping[bytes, Location], Mapping[int, int]]]
    ) -> None:
        """Ask, then make records known, in one transaction that excludes every other writer, also in other processes.

        `change` may be called again when the index had to grow. An entry replaces what is known where its revision is higher.
        """

        def run(transaction: lmdb.Transaction) -> None:
            def get(key: bytes) -> Location | None:
                value = transaction.get(key)
                return None if value is None else LOCATION.unpack(value)

            entries, ends = change(get)
            pack = LOCATION.pack
            items = [(key, pack(*entries[key])) for key in sorted(entries)]
            added = transaction.cursor().putmulti(items, overwrite=False)[1] if items else 0
            if added != len(items):
                for key, location in entries.items():
                    known = get(key)
                    if known is None or known[3] < location[3]:
                        transaction.put(key, pack(*location))
            for number, end in ends.items():
                transaction.put(end_key(number), end.to_bytes(8, "little"))

        self._write(run)

    def replace_all(self, entries: Mapping[bytes, Location], ends: Mapping[int, int]) -> None:
        """Forget everything and know this instead, in one transaction."""

        def run(transaction: lmdb.Transaction) -> None:
            transaction.drop(self._open().open_db(None, txn=transaction), delete=False)
            transaction.cursor().putmulti([(key, LOCATION.pack(*entries[key])) for key in sorted(entries)])
            for number, end in ends.items():
                transaction.put(end_key(number), end.to_bytes(8, "little"))

        self._write(run)

    def after_fork(self) -> None:
        """In a child: leave what was inherited alone, and open anew when asked."""
        if self._environment is not None:
            _left_behind.append(self._environment)
        self._environment = None
        self._lock = Lock()

    def close(self) -> None:
        """Let go of the file; a later question opens it again."""
        with self._lock:
            environment, self._environment = self._environment, None
            if environment is not None:
                environment.close()

    def _open(self) -> lmdb.Environment:
        """Called with the lock held."""
        if self._environment is None:
            import lmdb

            writable = os.access(os.path.dirname(self._path), os.W_OK)
            try:
                self._environment = lmdb.open(
                    self._path,
                    subdir=False,
                    map_size=_MAP_BYTES,
                    readonly=not writable,
                    lock=writable,
                    max_readers=1024,
                    metasync=True,
                )
            except (lmdb.Error, OSError) as error:
                raise self._failed(error, "opened") from None
        return self._environment

    def _read(self, question: Callable[..., T]) -> T:
        import lmdb

        with self._lock:
            while True:
                environment = self._open()
                try:
                    with environment.begin() as transaction:
                        return question(transaction)
                except lmdb.MapResizedError:
                    environment.set_mapsize(0)
                except lmdb.Error as error:
                    raise self._failed(error, "read") from None

    def _write(self, work: Callable[[lmdb.Transaction], None]) -> None:
        import lmdb

        with self._lock:
            while True:
                environment = self._open()
                try:
                    with environment.begin(write=True) as transaction:
                        work(transaction)
                    return
                except lmdb.MapResizedError:
                    environment.set_mapsize(0)
                except lmdb.MapFullError:
                    environment.set_mapsize(environment.info()["map_size"] * 2)
                except lmdb.Error as error:
                    raise self._failed(error, "written") from None

    def _failed(self, error: Exception, action: str) -> DiskFull | StoreFailed:
        if "No space left" in str(error) or "quota" in str(error):
            return DiskFull(path=self._path, reason="its index can't grow")
        return StoreFailed(path=self._path, action=action, reason=str(error))


def _batch(transaction: lmdb.Transaction, prefix: bytes, start: bytes) -> list[tuple[bytes, bytes]]:
    cursor = transaction.cursor()
    found: list[tuple[bytes, bytes]] = []
    if cursor.set_range(start):
        for key, value in cursor:
            if key[:1] != prefix or len(found) == _BATCH:
                break
            found.append((bytes(key), bytes(value)))
    return found
