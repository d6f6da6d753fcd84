"""The index of a pack store: an LMDB file that says where each record lies and how far each pack is committed.

LMDB must not be inherited by a fork, so it is opened at the first question, closed before every fork and opened again after it. Its
map has a size that only grows: by us when it is full, by adoption when another process grew it. A map may be resized only while no
transaction is open in the process, hence one lock around short transactions; they take microseconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from threading import Lock
from typing import TypeVar
from weakref import WeakValueDictionary

from tvix.castore.pack.format import BLOB, LOCATION, DiskFull, Location, StoreFailed, end_key, index_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    import lmdb

T = TypeVar("T")

_MAP_BYTES = 64 << 20
_BATCH = 1024


class _Environment:
    """An LMDB environment, of which a process may have one for each file. It is closed when nobody refers to it any more."""

    __slots__ = ("__weakref__", "_environment", "_path", "lock")

    def __init__(self, path: str) -> None:
        self._path = path
        self._environment: lmdb.Environment | None = None
        self.lock = Lock()

    def open(self) -> lmdb.Environment:
        """Called with the lock held. Raises `lmdb.Error`."""
        if self._environment is None:
            import lmdb

            writable = os.access(os.path.dirname(self._path), os.W_OK)
            self._environment = lmdb.open(
                self._path, subdir=False, map_size=_MAP_BYTES, readonly=not writable, lock=writable, max_readers=1024
            )
            if writable:
                self._environment.reader_check()  # readers that were killed would keep old pages in use
        return self._environment

    def close(self) -> None:
        """Called with the lock held."""
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def before_fork(self) -> None:
        """Close it: a child that inherited it could neither use it nor close it without taking the parent's readers away."""
        self.lock.acquire()
        self.close()

    def after_fork_in_child(self) -> None:
        """The lock may only be released by the thread that has it, which is gone."""
        self.lock = Lock()


_environments: WeakValueDictionary[str, _Environment] = WeakValueDictionary()
_forking: list[_Environment] = []


def _before_fork() -> None:
    _forking.extend(_environments.values())
    for environment in _forking:
        environment.before_fork()


def _after_fork_in_parent() -> None:
    for environment in _forking:
        environment.lock.release()
    _forking.clear()


def _after_fork_in_child() -> None:
    for environment in _forking:
        environment.after_fork_in_child()
    _forking.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


class Index:
    """`path` is the LMDB file. Safe to share between threads."""

    def __init__(self, path: str) -> None:
        self._path = path
        real = os.path.realpath(path)
        self._environment = _environments.get(real) or _environments.setdefault(real, _Environment(real))

    def get_many(self, keys: Collection[bytes]) -> list[Location | None]:
        """The locations of `keys`, in their order."""
        found = self._read(lambda transaction: [transaction.get(key) for key in keys])
        unpack = LOCATION.unpack
        return [None if value is None else unpack(value) for value in found]

    def known(self, keys: Collection[bytes]) -> list[bool]:
        """Whether there is a location of each, in their order."""
        found = self._read(lambda transaction: list(map(transaction.get, keys)))
        return [value is not None for value in found]

    def get(self, key: bytes) -> Location | None:
        """The location of one record."""
        return self.get_many((key,))[0]

    def end(self, number: int) -> int | None:
        """How many bytes of a pack are committed, None for a pack that the index doesn't know."""
        value = self._read(lambda transaction: transaction.get(end_key(number)))
        return None if value is None else int.from_bytes(value, "little")

    def iterate(self, kind: int) -> Iterator[tuple[bytes, Location]]:
        """(key without its kind, location) of all records of a kind, ascending; what is added meanwhile may be among them."""
        prefix = bytes((kind,))
        after = prefix
        while True:
            batch = self._read(partial(_batch, prefix=prefix, start=after))
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

        `change` may be called again when the index had to grow. An entry replaces what is known where its revision is higher, and
        is left out where its pack was dropped meanwhile.
        """

        def run(_environment: lmdb.Environment, transaction: lmdb.Transaction) -> None:
            def get(key: bytes) -> Location | None:
                value = transaction.get(key)
                return None if value is None else LOCATION.unpack(value)

            def known_pack(number: int) -> bool:
                return transaction.get(end_key(number)) is not None

            entries, ends = change(get)
            pack = LOCATION.pack
            gone = {number for number in {location[0] for location in entries.values()} - ends.keys() if not known_pack(number)}
            if gone:
                entries = {key: location for key, location in entries.items() if location[0] not in gone}
            items = [(key, pack(*entries[key])) for key in sorted(entries)]
            added = transaction.cursor().putmulti(items, overwrite=False)[1] if items else 0
            if added != len(items):
                for key, location in entries.items():
                    known = get(key)
                    if known is None or (key[0] != BLOB and known[3] < location[3]):
                        transaction.put(key, pack(*location))
            for number, end in ends.items():
                transaction.put(end_key(number), end.to_bytes(8, "little"))

        self._write(run)

    def drop(self, number: int, keys: Collection[bytes], last: bool) -> None:
        """Forget those of `keys` that lie in a pack, and with the `last` of them the pack. The caller holds the pack's lock."""

        def run(_environment: lmdb.Environment, transaction: lmdb.Transaction) -> None:
            for key in keys:
                value = transaction.get(key)
                if value is not None and LOCATION.unpack(value)[0] == number:
                    transaction.delete(key)
            if last:
                transaction.delete(end_key(number))

        self._write(run)

    def keys_in(self, number: int) -> list[bytes]:
        """The keys of everything that lies in a pack: a walk over the whole index, for packs that can't be walked themselves."""
        return [index_key(kind, key) for kind in self.kinds() for key, location in self.iterate(kind) if location[0] == number]

    def kinds(self) -> list[int]:
        """The kinds of record that are known."""
        return [kind for kind in range(1, 256) if self._read(partial(_any_of, prefix=bytes((kind,))))]

    def replace_all(self, entries: Mapping[bytes, Location], ends: Mapping[int, int]) -> None:
        """Forget everything and know this instead, in one transaction."""

        def run(environment: lmdb.Environment, transaction: lmdb.Transaction) -> None:
            transaction.drop(environment.open_db(None, txn=transaction), delete=False)
            transaction.cursor().putmulti([(key, LOCATION.pack(*entries[key])) for key in sorted(entries)])
            for number, end in ends.items():
                transaction.put(end_key(number), end.to_bytes(8, "little"))

        self._write(run)

    def close(self) -> None:
        """Let go of the file; a later question opens it again. Other users of the same file in this process do so as well."""
        with self._environment.lock:
            self._environment.close()

    def _read(self, question: Callable[[lmdb.Transaction], T]) -> T:
        import lmdb

        with self._environment.lock:
            while True:
                try:
                    environment = self._environment.open()
                    with environment.begin() as transaction:
                        return question(transaction)
                except lmdb.MapResizedError:
                    environment.set_mapsize(0)
                except (lmdb.Error, OSError) as error:
                    raise self._failed(error, "read") from None

    def _write(self, work: Callable[[lmdb.Environment, lmdb.Transaction], None]) -> None:
        import lmdb

        with self._environment.lock:
            while True:
                try:
                    environment = self._environment.open()
                    with environment.begin(write=True) as transaction:
                        work(environment, transaction)
                    return
                except lmdb.MapResizedError:
                    environment.set_mapsize(0)
                except lmdb.MapFullError:
                    environment.set_mapsize(environment.info()["map_size"] * 2)
                except (lmdb.Error, OSError) as error:
                    raise self._failed(error, "written") from None

    def _failed(self, error: Exception, action: str) -> DiskFull | StoreFailed:
        if "No space left" in str(error) or "quota" in str(error):
            return DiskFull(path=self._path, reason="its index can't grow")
        return StoreFailed(path=self._path, action=action, reason=str(error))


def _any_of(transaction: lmdb.Transaction, prefix: bytes) -> bool:
    cursor = transaction.cursor()
    return bool(cursor.set_range(prefix)) and bytes(cursor.key()[:1]) == prefix


def _batch(transaction: lmdb.Transaction, prefix: bytes, start: bytes) -> list[tuple[bytes, bytes]]:
    cursor = transaction.cursor()
    found: list[tuple[bytes, bytes]] = []
    if cursor.set_range(start):
        for key, value in cursor:
            if key[:1] != prefix or len(found) == _BATCH:
                break
            found.append((bytes(key), bytes(value)))
    return found
