"""Reading packs. Files stay open, the longest unused is let go first; nobody locks anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from threading import Lock

from tvix.castore.pack.format import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    TRAILER_BYTES,
    DamagedPack,
    Location,
    checksum_holds,
    disk_error,
    pack_name,
    parse_header,
)

_OPEN_MAX = 128
_SPAN_BUFFERS_MAX = 1000  # below the kernel's IOV_MAX of 1024


class PackGone(Exception):
    """A pack was dropped after the index was asked: ask again."""


class _OpenPack:
    """A file descriptor that is closed when nobody uses it any more, not while a thread still reads."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class PackFiles:
    """The packs of a store, for reading. Safe to share between threads."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._open: dict[int, _OpenPack] = {}
        self._lock = Lock()

    def record(self, key: bytes, location: Location) -> bytes | bytearray:
        """The payload of a record as it lies, checked. Raises `PackGone`, `DamagedPack`, `StoreFailed`."""
        number, offset, length, revision = location
        header = bytearray(HEADER_BYTES)
        payload = bytearray(length)
        trailer = bytearray(TRAILER_BYTES)
        self._preadv(number, [header, payload, trailer], offset - HEADER_BYTES, length + OVERHEAD_BYTES)
        said = parse_header(header)
        if said != (key, length, revision):
            raise DamagedPack(path=self._path(number), offset=offset - HEADER_BYTES, reason="another record is expected there")
        if not checksum_holds(header, payload, trailer):
            raise DamagedPack(path=self._path(number), offset=offset, reason="the checksum is wrong")
        return payload

    def part(self, location: Location, offset: int, length: int) -> bytes:
        """Bytes of a payload, unchecked: they were when they came in. Raises `PackGone`, `DamagedPack`, `StoreFailed`."""
        pack = self._pack(location[0])
        try:
            found = os.pread(pack.fd, length, location[1] + offset)
        except OSError as error:
            raise disk_error(self._path(location[0]), error, "read") from None
        if len(found) != length:
            raise DamagedPack(path=self._path(location[0]), offset=location[1] + offset + len(found), reason="it ends too early")
        return found

    def span(self, pieces: Sequence[tuple[Location, int, int]]) -> bytearray:
        """Bytes out of several payloads (location, offset, length), unchecked.

        Payloads that are neighbours in a pack are read by one call, which drops what lies between them into a scratch buffer.
        """
        out = bytearray(sum(length for _location, _offset, length in pieces))
        view = memoryview(out)
        scratch = bytearray(OVERHEAD_BYTES)
        buffers: list[bytearray | memoryview] = []
        number = start = end = -1
        done = 0
        for location, offset, length in pieces:
            at = location[1] + offset
            adjacent = location[0] == number and at == end + OVERHEAD_BYTES and len(buffers) < _SPAN_BUFFERS_MAX
            if adjacent:
                buffers.append(scratch)
            else:
                if buffers:
                    self._preadv(number, buffers, start, end - start)
                buffers = []
                number, start = location[0], at
            buffers.append(view[done : done + length])
            done += length
            end = at + length
        if buffers:
            self._preadv(number, buffers, start, end - start)
        return out

    def close(self) -> None:
        """Let go of the files; a later read opens them again."""
        with self._lock:
            self._open.clear()

    def let_go(self) -> None:
        """Close the packs that were dropped: until then they take their space."""
        with self._lock:
            for number, pack in list(self._open.items()):
                if os.fstat(pack.fd).st_nlink == 0:
                    del self._open[number]

    def after_fork(self) -> None:
        """In a child: a thread that had the lock is gone."""
        self._lock = Lock()

    def _preadv(self, number: int, buffers: list[bytearray | memoryview] | list[bytearray], offset: int, length: int) -> None:
        pack = self._pack(number)
        try:
            found = os.preadv(pack.fd, buffers, offset)
        except OSError as error:
            raise disk_error(self._path(number), error, "read") from None
        if found != length:
            raise DamagedPack(path=self._path(number), offset=offset + found, reason="it ends too early")

    def _pack(self, number: int) -> _OpenPack:
        pack = self._open.get(number)
        if pack is None:
            try:
                pack = _OpenPack(os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
            except FileNotFoundError:
                raise PackGone from None
            except OSError as error:
                raise disk_error(self._path(number), error, "opened") from None
            with self._lock:
                while len(self._open) >= _OPEN_MAX:
                    self._open.pop(next(iter(self._open)))
                self._open[number] = pack
        return pack

    def _path(self, number: int) -> str:
        return os.path.join(self._directory, pack_name(number))
