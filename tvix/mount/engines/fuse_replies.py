"""Replies as bytes: what the kernel is told of nodes, names and errors."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from tvix.mount.engines.fuse_protocol import DIRENT, DIRENT_PLUS, ENTRY_OUT, FOREVER, OUT_HEADER
from tvix.mount.node_table import DIRECTORY, SLOT_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tvix.mount.tree import Tree

MODES = (0, 0o040555, 0o100444, 0o100555, 0o120777)
"""By kind. Links are 0777 as on any other file system: the kernel never looks."""

_TYPES = tuple(mode >> 12 for mode in MODES)
_BLOCK = 4096
_SIZE_MAX = (1 << 63) - 1
_MTIME = 1
"""What Nix gives every file; programs that compare times, as Python does for compiled modules, count on it."""

_ENTRY_REPLY = Struct("<IiQ" + ENTRY_OUT.format[1:])
_ATTR_REPLY = Struct("<IiQQIIQQQQQQIIIIIIIIII")
_NOTHING = bytes(ENTRY_OUT.size)
_dirent = DIRENT.pack
_PADDING = tuple(bytes(-length % 8) for length in range(8))


PLAIN, LEAN, FULL = 0, 1, 2
"""How much a listing says: names and types; the attributes of directories as well; the attributes of everything."""


class ImpossibleSize(Exception):
    """A file that claims more bytes than any file can have."""


def error(unique: int, number: int) -> bytes:
    """The reply that a request failed."""
    return OUT_HEADER.pack(OUT_HEADER.size, -number, unique)


def answer(unique: int, payload: bytes) -> bytes:
    """A short reply."""
    return OUT_HEADER.pack(OUT_HEADER.size + len(payload), 0, unique) + payload


class Replies:
    """Replies about the nodes of one tree, all owned by `uid` and `gid`."""

    def __init__(self, tree: Tree, uid: int, gid: int) -> None:
        self._tree = tree
        self._record = tree.table.record
        self._uid = uid
        self._gid = gid

    def entry(self, unique: int, number: int) -> bytes:
        """A name was found and means node `number`, for ever."""
        kind, _, _, size, _ = self._record(number)
        if size > _SIZE_MAX:
            raise ImpossibleSize
        return _ENTRY_REPLY.pack(
            144, 0, unique, number, 0, FOREVER, FOREVER, 0, 0,
            number, size, (size + 511) >> 9, _MTIME, _MTIME, _MTIME, 0, 0, 0, MODES[kind], 1, self._uid, self._gid, 0, _BLOCK, 0,
        )  # fmt: skip

    def no_entry(self, unique: int) -> bytes:
        """The name is not there and never will be."""
        return _ENTRY_REPLY.pack(144, 0, unique, 0, 0, FOREVER, *(0,) * 19)

    def attributes(self, unique: int, number: int) -> bytes:
        """The attributes of a node, for ever."""
        kind, _, _, size, _ = self._record(number)
        if size > _SIZE_MAX:
            raise ImpossibleSize
        return _ATTR_REPLY.pack(
            120, 0, unique, FOREVER, 0, 0,
            number, size, (size + 511) >> 9, _MTIME, _MTIME, _MTIME, 0, 0, 0, MODES[kind], 1, self._uid, self._gid, 0, _BLOCK, 0,
        )  # fmt: skip

    def listing(self, unique: int, number: int, items: Sequence[tuple[bytes, int]], offset: int, room: int, detail: int) -> bytes:
        """As much of a directory as fits in `room` bytes, from the `offset`th name on, `.` and `..` being the first two."""
        parts = [b""]
        total = 0
        nothing = _NOTHING if detail else b""
        memory = self._tree.table.memory
        if offset < 2:
            for name, node in ((b".", number), (b"..", self._record(number)[1]))[offset:]:
                offset += 1
                parts.append(nothing + _plain(name, node, offset, DIRECTORY))
            total = sum(map(len, parts))
        for index in range(offset - 2, len(items)):
            name, node = items[index]
            kind = memory[node * SLOT_BYTES]
            offset += 1
            if detail == FULL or (kind == DIRECTORY and detail):
                part = self._entry_plus(name, node, offset)
            else:
                length = len(name)
                part = nothing + _dirent(node, offset, length, _TYPES[kind]) + name + _PADDING[length & 7]
            if total + len(part) > room:
                break
            total += len(part)
            parts.append(part)
        parts[0] = OUT_HEADER.pack(OUT_HEADER.size + total, 0, unique)
        return b"".join(parts)

    def _entry_plus(self, name: bytes, number: int, offset: int) -> bytes:
        kind, _, _, size, _ = self._record(number)
        length = len(name)
        if size > _SIZE_MAX:  # named, but without attributes: asking for them fails
            return _NOTHING + _plain(name, number, offset, kind)
        return (
            DIRENT_PLUS.pack(
                number, 0, FOREVER, FOREVER, 0, 0,
                number, size, (size + 511) >> 9, _MTIME, _MTIME, _MTIME, 0, 0, 0,
                MODES[kind], 1, self._uid, self._gid, 0, _BLOCK, 0,
                number, offset, length, _TYPES[kind],
            )
            + name
            + _PADDING[length & 7]
        )  # fmt: skip


def _plain(name: bytes, number: int, offset: int, kind: int) -> bytes:
    length = len(name)
    return DIRENT.pack(number, offset, length, _TYPES[kind]) + name + _PADDING[length & 7]
