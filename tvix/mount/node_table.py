"""Node numbers: one append-only table in shared memory, so a successor process can be handed the descriptor and go on.

The kernel remembers node numbers for as long as a mount lives. A number is never given twice and never changes its meaning, so it
needs no reference counts: a FORGET has nothing to do. Everything about a node follows from its record and what its parent's
directory says, since the contents of a store never change.

Layout, little-endian: slots of 64 bytes. Slot 0 is the header: `TVIXNODE`, version (u32), 4 bytes free, slots in use (u64).
Slot n is node n: kind (u8), 3 bytes free, parent (u32), position in the parent's directory by name (u32), size (u64), digest
(32 bytes), 12 bytes free. The count is raised after the records are there.
"""

from __future__ import annotations

import os
from mmap import mmap
from struct import Struct

from tvix.errors import EX_UNAVAILABLE, TvixError

DIRECTORY, FILE, EXECUTABLE, SYMLINK = 1, 2, 3, 4
"""Kinds of node."""

ROOT = 1
"""The number of the root, as the FUSE protocol has it."""

NO_POSITION = 0xFFFFFFFF
"""The position of a node that no directory object names: the root, and store paths under a store's root."""

NO_DIGEST = bytes(32)
"""The digest of a node that isn't named by one: symlinks, and the root of a whole store."""

SLOT_BYTES = 64
"""A node's kind is the first byte of its slot in `NodeTable.memory`: listings look there themselves."""

_HEADER = Struct("<8sIxxxxQ")
_RECORD = Struct("<BxxxIIQ32s12x")
_MAGIC = b"TVIXNODE"
_VERSION = 1
_NUMBERS_MAX = 0xFFFFFFFE
_FIRST_SLOTS = 1024


class ForeignNodeTable(TvixError):
    """A descriptor was handed over that doesn't hold a table of this version."""

    identifier = "mount.foreign-node-table"
    message = "the table of node numbers that was handed over can't be used: {reason}"
    exit_code = EX_UNAVAILABLE


class TooManyNodes(TvixError):
    """The numbers are used up: four thousand million."""

    identifier = "mount.too-many-nodes"
    message = "the mount has no node numbers left"
    exit_code = EX_UNAVAILABLE


class NodeTable:
    """The table, new, or adopted from the descriptor `fd` of one that another process has filled.

    Numbers are given by one writer at a time; the caller holds a lock. Reading needs none.
    """

    __slots__ = ("_capacity", "count", "fd", "memory")

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            self.fd = os.memfd_create("tvix-nodes", os.MFD_CLOEXEC)
            self._capacity = _FIRST_SLOTS
            os.ftruncate(self.fd, SLOT_BYTES * self._capacity)
            self.memory = mmap(self.fd, SLOT_BYTES * self._capacity)
            self.count = 1
            self._publish()
        else:
            self.fd = fd
            self._adopt()

    def _adopt(self) -> None:
        length = os.fstat(self.fd).st_size
        if length < SLOT_BYTES:
            raise ForeignNodeTable(reason=f"{length} bytes are too few")
        self.memory = mmap(self.fd, length)
        self._capacity = length // SLOT_BYTES
        magic, version, self.count = _HEADER.unpack_from(self.memory)
        if magic != _MAGIC or version != _VERSION:
            raise ForeignNodeTable(reason=f"it begins with {magic!r}, version {version}")
        if not 1 <= self.count <= self._capacity:
            raise ForeignNodeTable(reason=f"it says {self.count} of {self._capacity} slots are in use")

    def append(self, records: bytes) -> int:
        """Add packed records (see `pack`) and say the number of the first. Raises `TooManyNodes`."""
        first = self.count
        after = first + len(records) // SLOT_BYTES
        if after > _NUMBERS_MAX:
            raise TooManyNodes
        if after > self._capacity:
            self._grow(after)
        self.memory[first * SLOT_BYTES : after * SLOT_BYTES] = records
        self.count = after
        self._publish()
        return first

    def record(self, number: int) -> tuple[int, int, int, int, bytes]:
        """(kind, parent, position, size, digest) of a node. Raises `KeyError` for a number that wasn't given."""
        if not ROOT <= number < self.count:
            raise KeyError(number)
        return _RECORD.unpack_from(self.memory, number * SLOT_BYTES)

    def close(self) -> None:
        """Let go of the memory and its descriptor."""
        self.memory.close()
        os.close(self.fd)

    def _publish(self) -> None:
        _HEADER.pack_into(self.memory, 0, _MAGIC, _VERSION, self.count)

    def _grow(self, slots: int) -> None:
        self._capacity = max(slots, self._capacity * 2)
        os.ftruncate(self.fd, SLOT_BYTES * self._capacity)
        self.memory.resize(SLOT_BYTES * self._capacity)


pack = _RECORD.pack
"""(kind, parent, position, size, digest) → the record of one node."""
