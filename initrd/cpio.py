"""Archives in cpio's newc format, as the kernel unpacks them into its first root file system.

The format is in the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`: a header of 110 ASCII characters, the
name with its NUL, the data, each padded to four bytes. What is written depends on the entries alone: they are sorted by name,
inode numbers are counted from 1, every time is 1, everything belongs to root.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from tvix.errors import EX_DATAERR, TvixError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SIZE = 2**32 - 1
"""A file's size is eight hexadecimal digits."""
MTIME = 1
TRAILER = "TRAILER!!!"

_COPY_SIZE = 1 << 20


class UnsuitableEntry(TvixError):
    """The archive can't hold this."""

    identifier = "initrd.unsuitable-entry"
    message = "{name}: {reason}"
    exit_code = EX_DATAERR


class Entry(NamedTuple):
    """A file, directory, symbolic link or device node. `content` is the bytes (of a link: its target) or the file that holds
    them."""

    name: str
    mode: int
    content: bytes | Path = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str) -> Entry:
    """A directory that everyone may read."""
    return Entry(name, stat.S_IFDIR | 0o755)


def regular(name: str, content: bytes | Path, *, executable: bool = False) -> Entry:
    """A regular file."""
    return Entry(name, stat.S_IFREG | (0o755 if executable else 0o644), content)


def secret(name: str, content: bytes) -> Entry:
    """A regular file that its owner alone may read."""
    return Entry(name, stat.S_IFREG | 0o600, content)


def symlink(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, permissions: int, major: int, minor: int) -> Entry:
    """A node of a character device."""
    return Entry(name, stat.S_IFCHR | permissions, b"", (major, minor))


def write(entries: Iterable[Entry], output: BinaryIO) -> int:
    """Write an archive, and say how many bytes it has. Of entries with the same name the last one counts.

    Raises `UnsuitableEntry` for names that aren't plain relative paths, for names below something that isn't a directory of this
    archive, for files of 4 GiB and more, and for files that change while they are read.
    """
    by_name = {entry.name: entry for entry in entries}
    written = 0
    for number, name in enumerate(sorted(by_name), start=1):
        _check(name, by_name)
        written += _write_one(by_name[name], number, output)
    return written + _write_one(Entry(TRAILER, 0), 0, output)


def _check(name: str, by_name: dict[str, Entry]) -> None:
    components = name.split("/")
    if "\0" in name or any(component in {"", ".", ".."} for component in components):
        raise UnsuitableEntry(name=name, reason="not a plain relative path")
    parent = "/".join(components[:-1])
    if parent and (parent not in by_name or not stat.S_ISDIR(by_name[parent].mode)):
        raise UnsuitableEntry(name=name, reason=f"{parent} is not a directory in this archive")


def _write_one(entry: Entry, inode: int, output: BinaryIO) -> int:
    size = len(entry.content) if isinstance(entry.content, bytes) else entry.content.stat().st_size
    if size > MAX_SIZE:
        raise UnsuitableEntry(name=entry.name, reason=f"{size} bytes are more than cpio can hold ({MAX_SIZE})")
    name = entry.name.encode() + b"\0"
    header = _header(entry, inode, size, len(name)) + name
    output.write(header + _padding(len(header)))
    if isinstance(entry.content, bytes):
        output.write(entry.content)
    else:
        _copy(entry.name, entry.content, size, output)
    output.write(_padding(size))
    return _padded(len(header)) + _padded(size)


def _header(entry: Entry, inode: int, size: int, name_size: int) -> bytes:
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    mtime = MTIME if entry.mode else 0
    fields = (inode, entry.mode, 0, 0, links, mtime, size, 0, 0, *entry.device, name_size, 0)
    return b"070701" + b"".join(b"%08X" % field for field in fields)


def _copy(name: str, path: Path, size: int, output: BinaryIO) -> None:
    left = size
    with path.open("rb") as source:
        while piece := source.read(_COPY_SIZE):
            left -= len(piece)
            if left < 0:
                break
            output.write(piece)
    if left:
        raise UnsuitableEntry(name=name, reason=f"{path} changed while it was read")


def _padded(size: int) -> int:
    return (size + 3) // 4 * 4


def _padding(size: int) -> bytes:
    return bytes(-size % 4)
