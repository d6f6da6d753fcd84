"""A pack store that is looked after: a thread of its own compresses, writes and syncs, so that who puts never waits for a disk.

Near ends of mounts are such stores: what comes from far is put by a loop that has others to answer. Whatever kills the process
takes with it what was put since the last sync, `seconds` of it at most.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Condition, Thread
from time import monotonic

from tvix.castore.compression import LEVEL, Compressor
from tvix.castore.pack.format import PACKS_DIRECTORY, pack_name
from tvix.castore.pack.store import PackStore
from tvix.errors import TvixError

WAITING_BYTES_MAX = 16 << 20
"""How much may wait for the thread; who puts more writes it himself."""


class TendedPackStore(PackStore):
    """As `PackStore`, synced by itself every `seconds` in which something was put."""

    def __init__(
        self, path: str, level: int = LEVEL, max_bytes: int | None = None, *, seconds: float, partial: bool = False
    ) -> None:
        self._seconds = seconds
        self._change = Condition()
        self._full = self._closed = False
        self._ailing = False  # whoever puts next shall hear of it
        self._thread: Thread | None = None
        super().__init__(path, level, max_bytes, partial=partial)
        self._aside = Compressor(level)
        self._thread = Thread(target=self._tend, name="near", daemon=True)
        self._thread.start()

    def _make_room(self) -> None:
        if self._thread is None or self._ailing or self._buffered.bytes >= WAITING_BYTES_MAX:
            super()._make_room()
            return
        with self._change:
            self._full = True
            self._change.notify()

    def close(self) -> None:
        """See `PackStore`."""
        with self._change:
            self._closed = True
            self._change.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        super().close()

    def after_fork(self) -> None:
        """See `PackStore`: the thread stays the parent's."""
        self._change = Condition()
        self._thread = None
        super().after_fork()

    def _tend(self) -> None:
        due = monotonic() + self._seconds
        while self._wait(due):
            late = monotonic() >= due
            try:
                self._write()
                if late:
                    self._sync_aside()
                self._ailing = False
            except TvixError:
                self._ailing = True
            if late:
                due = monotonic() + self._seconds

    def _wait(self, due: float) -> bool:
        """Until there is something to do; False once the store is closed."""
        with self._change:
            self._change.wait_for(lambda: self._full or self._closed, max(0.0, due - monotonic()))
            self._full = False
            return not self._closed

    def _write(self) -> None:
        self._buffered.compress(self._aside, self._lock)
        if self._buffered:
            self._flush()

    def _sync_aside(self) -> None:
        """Most of the time that a sync takes passes before the store is locked for it.

        The pack is opened for that, and what goes wrong is left to the sync: the kernel reports an error once by each open file.
        """
        with self._lock:
            if not (self._written or self._writer.ends):
                return
            path = os.path.join(self.path, PACKS_DIRECTORY, pack_name(self._writer.number))
        with suppress(OSError):
            pack = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fdatasync(pack)
            finally:
                os.close(pack)
        self.sync()
