"""Writing packs: a process appends to a pack of its own, which it holds under an flock.

A pack that no process holds and that has room is taken over rather than a new one made. What lies in it beyond the length that the
index knows was written by a process that died before it could say so: it is cut off.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from itertools import islice

from tvix.castore.pack.format import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    PACK_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    TRAILER_BYTES,
    Location,
    RecordTooLarge,
    disk_error,
    pack_name,
    pack_number,
    record_frame,
)
from tvix.castore.pack.index import Index
from tvix.castore.pack.place import upgrade

_REUSE_TRIES = 16
_RECORDS_MAX = 500  # two buffers each, below the kernel's IOV_MAX of 1024

Record = tuple[bytes, bytes | bytearray | memoryview, int]
"""Index key, payload, and the last number of its `Location`."""


class PackWriter:
    """The pack that this process appends to. Not safe to share between threads: the store locks."""

    def __init__(self, directory: str, index: Index, pack_bytes: int | None = None) -> None:
        self._directory = directory
        self._pack_bytes = pack_bytes  # None is as much as a pack may have
        self._index = index
        self._fd = -1
        self.unsafe = False
        """Whether what was written since the last sync may be lost: asked again, the kernel would say that all is well."""
        self.number = -1
        self.end = 0
        self._needed: dict[int, int] = {}  # how far each pack that was written holds what may be asked for
        self.ends: dict[int, int] = {}
        """Packs that were written since the last commit, and how far."""

    def append(self, records: Sequence[Record], start: int) -> list[Location]:
        """Write as many records from `start` on as the pack and one system call take, at least one, and say where they lie.

        Nothing is durable yet. On an error none of them is there. Raises `DiskFull`, `StoreFailed`, `RecordTooLarge`.
        """
        size = len(records[start][1]) + OVERHEAD_BYTES
        if size > PACK_BYTES_MAX:
            raise RecordTooLarge(path=self._directory, size=size - OVERHEAD_BYTES, limit=PAYLOAD_BYTES_MAX)
        limit = self._pack_bytes or PACK_BYTES_MAX
        if self._fd < 0 or (self.end and self.end + size > limit):
            self._finish()
            self._take(size)
        locations: list[Location] = []
        buffers: list[bytes | bytearray | memoryview] = []
        number, end, trailer = self.number, self.end, b""
        for key, payload, revision in islice(records, start, start + _RECORDS_MAX):
            length = len(payload)
            if locations and end + length + OVERHEAD_BYTES > limit:
                break
            header, next_trailer = record_frame(key, payload, revision)
            buffers.append(trailer + header)
            buffers.append(payload)
            trailer = next_trailer
            locations.append((number, end + HEADER_BYTES, length, revision))
            end += length + OVERHEAD_BYTES
        buffers.append(trailer)
        try:
            self._write(buffers, end - self.end)
        except OSError as error:
            os.ftruncate(self._fd, self.end)
            raise disk_error(self._path(number), error) from None
        self.end = self.ends[number] = end
        return locations

    def mark(self) -> tuple[int, int]:
        """Where the next record goes, for `rewind`."""
        return self.number if self._fd >= 0 else -1, self.end

    def rewind(self, mark: tuple[int, int]) -> None:
        """Take back what was appended since `mark`, as far as it is in the same pack: a rebuild would find it otherwise."""
        number, end = mark
        if self._fd >= 0 and number == self.number and end < self.end:
            if (self._index.end(number) or 0) > end:
                self._index.commit({}, {number: end})
            os.ftruncate(self._fd, end)
            self.end = self.ends[number] = end

    def keep(self, locations: Iterable[Location]) -> None:
        """These records are wanted: what lies before their ends stays."""
        needed = self._needed
        for number, offset, length, _revision in locations:
            end = offset + length + TRAILER_BYTES
            if end > needed.get(number, end):  # packs that are not ours are left alone anyway
                needed[number] = end

    def reclaim(self, dead: Iterable[Location], alive: Iterable[Location]) -> None:
        """Free the space of records that nobody will ask for, as far as only such lie behind them in their packs.

        `alive` are records that nobody has published yet but somebody may.
        """
        needed = dict(self._needed)
        for number, offset, length, _revision in alive:
            needed[number] = max(needed.get(number, 0), offset + length + TRAILER_BYTES)
        for number in {location[0] for location in dead} & needed.keys():
            if number == self.number and self._fd >= 0:
                self.rewind((number, needed[number]))
            else:
                self._shorten(number, needed[number])

    def _shorten(self, number: int, end: int) -> None:
        """Cut a pack that this process filled, unless another has taken it."""
        try:
            fd = os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return
        if self._hold(fd):
            try:
                if self._index.end(number) == os.fstat(fd).st_size > end:
                    self._index.commit({}, {number: end})
                    os.ftruncate(fd, end)
            finally:
                os.close(fd)

    def _write(self, buffers: list[bytes | bytearray | memoryview], size: int) -> None:
        written = os.pwritev(self._fd, buffers, self.end)
        if written != size:
            rest = memoryview(b"".join(buffers))[written:]
            while rest:
                written += (step := os.pwrite(self._fd, rest, self.end + written))
                rest = rest[step:]

    def sync(self) -> None:
        """Make the pack's contents durable; earlier packs were when they were finished. Raises `DiskFull`, `StoreFailed`."""
        if self._fd >= 0 and self.number in self.ends:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self.unsafe = True
                raise disk_error(self._path(self.number), error) from None

    def close(self, committed: bool) -> None:
        """Let the pack go; what isn't committed is cut off, so that it takes no space."""
        if self._fd < 0:
            return
        try:
            if not committed:
                os.ftruncate(self._fd, self._index.end(self.number) or 0)
        except OSError as error:
            raise disk_error(self._path(self.number), error) from None
        finally:
            os.close(self._fd)
            self._fd = -1
            self.unsafe = False
            self.ends = {}
            self._needed = {}

    def after_fork(self) -> None:
        """In a child: the pack, its lock and what isn't committed stay the parent's."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self.ends = {}
        self._needed = {}

    def _finish(self) -> None:
        """Leave a full pack. The index learns of its length before the lock goes, or another process would cut it."""
        if self._fd >= 0:
            self.sync()
            self._index.commit({}, {self.number: self.end})
            self.ends.pop(self.number, None)
            os.close(self._fd)
            self._fd = -1

    def _take(self, size: int) -> None:
        """Get hold of a pack with room for a record of `size` bytes."""
        try:
            upgrade(os.path.dirname(self._directory))
            numbers = sorted((n for name in os.listdir(self._directory) if (n := pack_number(name)) is not None), reverse=True)
            if not any(self._reuse(number, size) for number in numbers[:_REUSE_TRIES]):
                self._create(numbers[0] + 1 if numbers else 0)
        except OSError as error:
            raise disk_error(self._directory, error) from None

    def _reuse(self, number: int, size: int) -> bool:
        try:
            fd = os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        if not self._hold(fd):
            return False
        status = os.fstat(fd)
        end = self._index.end(number)
        limit = self._pack_bytes or PACK_BYTES_MAX
        if end is None or status.st_nlink == 0 or status.st_size < end or end > min(limit // 4 * 3, limit - size):
            os.close(fd)
            return False
        try:
            if status.st_size > end:
                os.ftruncate(fd, end)
        except OSError:
            os.close(fd)
            raise
        self._fd, self.number, self.end = fd, number, end
        self._needed[number] = end
        return True

    def _create(self, number: int) -> None:
        while True:
            try:
                fd = os.open(self._path(number), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            except FileExistsError:
                number += 1
                continue
            if self._hold(fd):
                break
            number += 1  # another process took it between the two calls
        try:
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
            # The index learns of it now: a pack that it doesn't know is never cut, whatever becomes of this process.
            self._index.commit({}, {number: 0})
        except BaseException:
            os.unlink(self._path(number))
            os.close(fd)
            raise
        self._fd, self.number, self.end = fd, number, 0
        self._needed[number] = 0

    @staticmethod
    def _hold(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        return True

    def _path(self, number: int) -> str:
        return os.path.join(self._directory, pack_name(number))
