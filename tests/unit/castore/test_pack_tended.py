"""Pack stores that are looked after by a thread of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import get_ident
from time import monotonic, sleep

import pytest

from tvix.castore.addresses import InvalidStoreUrl, open_castore, open_pack, parse_address
from tvix.castore.digests import digest_of
from tvix.castore.pack.format import BLOB, DiskFull
from tvix.castore.pack.pending import FULL_BYTES
from tvix.castore.pack.store import PackStore
from tvix.castore.pack.tended import WAITING_BYTES_MAX, TendedPackStore

NEVER = 3600.0
TEXT = b"well compressible " * 20_000


def until(condition: Callable[[], object]) -> None:
    """Another thread or process makes it so, and what it does can only be looked at."""
    end = monotonic() + 20
    while not condition():
        assert monotonic() < end
        sleep(0.005)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TendedPackStore]:
    """One that never syncs by itself."""
    with_thread = TendedPackStore(str(tmp_path / "store"), seconds=NEVER)
    yield with_thread
    with_thread.close()


def fill(store: PackStore, size: int, payload: bytes = TEXT) -> list[bytes]:
    """Put different blobs of so many bytes in all."""
    keys = []
    for number in range(size // len(payload) + 1):
        contents = b"%d " % number + payload
        keys.append(bytes(digest_of(contents)))
        store.put(BLOB, keys[-1], contents)
    return keys


def written(store: PackStore) -> int:
    """Bytes in packs."""
    return sum(file.stat().st_size for file in Path(store.path, "packs").iterdir())


def test_what_is_put_is_synced_by_itself(tmp_path: Path) -> None:
    store = TendedPackStore(str(tmp_path), seconds=0.05)
    with_others = PackStore(tmp_path)
    for number in range(3):
        contents = TEXT + b"%d" % number
        store.put(BLOB, digest_of(contents), contents)
        until(lambda: with_others.get(BLOB, digest_of(contents)) == contents)  # noqa: B023
    store.close()
    with_others.close()


def test_what_a_killed_process_had_put_before_is_there(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from tvix.castore.addresses import open_castore, parse_address\n"
        "castore = open_castore(parse_address(sys.argv[1]))\n"
        "castore.blobs.put(b'kept' * 1000)\n"
        "print('put', flush=True)\n"
        "time.sleep(60)\n"
    )
    address = f"pack:{tmp_path}/store?sync=0.05"
    with subprocess.Popen([sys.executable, "-c", script, address], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"put\n"
        other = open_castore(parse_address(f"pack:{tmp_path}/store"))
        until(lambda: not other.blobs.missing([digest_of(b"kept" * 1000)]))
        other.blobs.close()
        process.send_signal(signal.SIGKILL)
    again = PackStore(tmp_path / "store")
    assert again.get(BLOB, digest_of(b"kept" * 1000)) == b"kept" * 1000
    again.close()


def test_who_puts_writes_and_compresses_nothing(store: TendedPackStore, monkeypatch: pytest.MonkeyPatch) -> None:
    wrote: set[int] = set()
    append = store._writer.append

    def watched(records: object, start: int) -> object:
        wrote.add(get_ident())
        return append(records, start)  # type: ignore[arg-type]

    monkeypatch.setattr(store._writer, "append", watched)
    keys = fill(store, FULL_BYTES + len(TEXT))
    until(lambda: written(store))
    assert wrote
    assert get_ident() not in wrote
    until(lambda: not store._buffered.is_full)
    assert written(store) < FULL_BYTES // 4, "it is compressed"
    assert store._compressor._compressor is None, "and not while the store was locked"
    assert all(store.get(BLOB, key) is not None for key in keys)


def test_what_waits_is_read_whatever_became_of_it(store: TendedPackStore) -> None:
    noise = os.urandom(4000)
    for contents in (TEXT, noise):
        store.put(BLOB, digest_of(contents), contents)
    store._buffered.compress(store._aside, store._lock)
    for contents in (TEXT, noise):
        assert store.get(BLOB, digest_of(contents)) == contents
    size, frame = store.pending_stored(bytes((BLOB,)) + digest_of(TEXT)) or (0, b"")
    assert (size, len(frame) < len(TEXT) // 8) == (len(TEXT), True)
    assert store._buffered.bytes == len(frame) + len(noise)
    store.sync()
    assert store._buffered.bytes == 0
    for contents in (TEXT, noise):
        assert store.get(BLOB, digest_of(contents)) == contents


def test_who_puts_faster_than_a_disk_writes_waits_in_the_end(store: TendedPackStore) -> None:
    store._write = lambda: None  # type: ignore[method-assign]
    most = 0
    for number in range(2 * WAITING_BYTES_MAX // len(TEXT)):
        contents = TEXT + b"%d" % number
        store.put(BLOB, digest_of(contents), contents)
        most = max(most, store._buffered.bytes)
    assert FULL_BYTES < most <= WAITING_BYTES_MAX + len(TEXT) + 10


def test_a_full_disk_is_told_to_who_puts_next(store: TendedPackStore) -> None:
    def full(_records: object, _start: int) -> object:
        raise DiskFull(path=store.path, reason="no room")

    append = store._writer.append
    store._writer.append = full  # type: ignore[method-assign, assignment]
    noise = os.urandom(len(TEXT))
    fill(store, FULL_BYTES + len(noise), noise)
    until(lambda: store._ailing)
    with pytest.raises(DiskFull):
        store.put(BLOB, digest_of(b"next"), b"next")
    store._writer.append = append  # type: ignore[method-assign]
    store.put(BLOB, digest_of(b"next"), b"next")
    assert store.get(BLOB, digest_of(b"next")) == b"next"


def test_a_child_has_no_thread_and_syncs_by_itself(store: TendedPackStore) -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fill(store, FULL_BYTES + len(TEXT))
            status = 0 if written(store) else 2
            store.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get(BLOB, digest_of(b"0 " + TEXT)) is not None


@pytest.mark.parametrize("text", ["0", "-1", "often", "inf"])
def test_an_interval_is_a_positive_number(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidStoreUrl, match="sync="):
        open_pack(parse_address(f"pack:{tmp_path}?sync={text}"))
