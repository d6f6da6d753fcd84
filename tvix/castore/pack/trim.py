"""Keeping a store below a bound: whole packs are dropped, the oldest first, never one that somebody writes.

What a pack held is forgotten by the index first, a few thousand records at a time, then the file goes: whoever dies in between
leaves a pack that nobody asks for and that the next trim takes. The pack with the highest number stays, since a number must never
come twice: processes that read keep packs open by it. The work follows what is dropped, not what is kept.
"""

from __future__ import annotations

import fcntl
import os
from errno import EACCES, EROFS

from tvix.castore.pack.format import (
    HEADER_BYTES,
    INDEX_FILE,
    OVERHEAD_BYTES,
    PACKS_DIRECTORY,
    PARTIAL_FILE,
    disk_error,
    pack_name,
    pack_number,
    parse_header,
)
from tvix.castore.pack.index import Index
from tvix.castore.pack.place import sync_directory

_BATCH = 4096


def mark_partial(path: str) -> None:
    """Note in the store at `path` that records may refer to what isn't here. Raises `DiskFull`, `StoreFailed`."""
    try:
        os.close(_marker(path))
    except OSError as error:
        if error.errno not in (EROFS, EACCES):  # nobody can drop anything there either
            raise disk_error(os.path.join(path, PARTIAL_FILE), error) from None


def _marker(path: str) -> int:
    """The file that says so, opened and, where it is new, durable: whoever finds something gone must be able to tell why."""
    marker = os.path.join(path, PARTIAL_FILE)
    try:
        return os.open(marker, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        fd = os.open(marker, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        sync_directory(path)
        return fd


def trim(path: str, index: Index, max_bytes: int) -> int:
    """Drop packs of the store at `path` until those that are left have at most `max_bytes`, as far as others let us; bytes dropped.

    Does nothing while another process does the same. Raises `DiskFull`, `StoreFailed`.
    """
    packs = os.path.join(path, PACKS_DIRECTORY)
    try:
        if sum(_sizes(packs).values()) <= max_bytes:
            return 0
        marker = _marker(path)
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sizes = _sizes(packs)  # another may have dropped some just now
            total = sum(sizes.values())
            dropped = 0
            for number in sorted(sizes)[:-1]:
                if total - dropped <= max_bytes:
                    break
                dropped += _drop(os.path.join(packs, pack_name(number)), number, index)
            return dropped
        except BlockingIOError:
            return 0
        finally:
            os.close(marker)
    except OSError as error:
        raise disk_error(packs, error) from None


def room_for_packs(path: str, max_bytes: int) -> int:
    """What packs of the store at `path` may have where it shall take `max_bytes` of the disk: what its index leaves.

    The index grows with what the packs hold, and doesn't shrink: a quarter is the packs' even where the bound was lowered since.
    """
    index = 0
    for name in (INDEX_FILE, f"{INDEX_FILE}-lock"):
        try:
            index += os.stat(os.path.join(path, name), follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue
    return max(max_bytes - index, max_bytes // 4)


def _sizes(packs: str) -> dict[int, int]:
    sizes: dict[int, int] = {}
    with os.scandir(packs) as entries:
        for entry in entries:
            number = pack_number(entry.name)
            if number is not None:
                try:
                    sizes[number] = entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
    return sizes


def _drop(path: str, number: int, index: Index) -> int:
    """Drop one pack unless somebody has it; how many bytes that freed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        end = index.end(number)
        if end is not None:
            keys = _keys(fd, end)
            if keys is None:
                keys = index.keys_in(number)
            for start in range(0, len(keys) or 1, _BATCH):
                index.drop(number, keys[start : start + _BATCH], last=start + _BATCH >= len(keys))
        size = os.fstat(fd).st_size
        os.unlink(path)
        return size
    finally:
        os.close(fd)


def _keys(fd: int, end: int) -> list[bytes] | None:
    """The keys of all records of a pack, from their headers; None where one of them can't be read."""
    keys: list[bytes] = []
    offset = 0
    while offset < end:
        header = os.pread(fd, HEADER_BYTES, offset)
        said = parse_header(header) if len(header) == HEADER_BYTES else None
        if said is None:
            return None
        keys.append(said[0])
        offset += said[1] + OVERHEAD_BYTES
    return keys
