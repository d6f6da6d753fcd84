"""What a name in a directory can stand for: a directory, a file or a symlink.

A node says everything about a file system object but its name. Nodes are named tuples: they are made by the hundred thousand, and
these are the cheapest immutable objects that Python has.
"""

from __future__ import annotations

from typing import NamedTuple, NewType

from tvix.castore.digests import Digest
from tvix.errors import EX_DATAERR, TvixError

Name = NewType("Name", bytes)
"""One component of a path: 1 to 255 bytes without `/` and NUL, not `.` or `..`. Made by `check_name`."""

NAME_BYTES_MAX = 255
TARGET_BYTES_MAX = 4095


class DirectoryNode(NamedTuple):
    """A directory: `digest` of its canonical encoding, and its `size` as `Directory.size` counts it (not bytes)."""

    digest: Digest
    size: int


class FileNode(NamedTuple):
    """A regular file: `digest` and `size` (bytes) of its contents."""

    digest: Digest
    size: int
    executable: bool


class SymlinkNode(NamedTuple):
    """A symbolic link: `target` is 1 to 4095 bytes without NUL, otherwise free."""

    target: bytes


Node = DirectoryNode | FileNode | SymlinkNode


class InvalidName(TvixError):
    """A directory entry's name that no file system should be asked to hold."""

    identifier = "castore.invalid-name"
    message = "{name!r} can't be the name of a directory entry: {reason}"
    exit_code = EX_DATAERR


class InvalidTarget(TvixError):
    """A symlink target that no file system should be asked to hold."""

    identifier = "castore.invalid-symlink-target"
    message = "{target!r} can't be the target of a symlink: {reason}"
    exit_code = EX_DATAERR


def check_name(raw: bytes) -> Name:
    """Check a path component. Raises `InvalidName`."""
    if 0 < len(raw) <= NAME_BYTES_MAX and b"/" not in raw and b"\0" not in raw and raw not in (b".", b".."):
        return Name(raw)
    raise InvalidName(name=raw, reason=_why_not_a_name(raw))


def _why_not_a_name(raw: bytes) -> str:
    if not raw:
        return "it is empty"
    if len(raw) > NAME_BYTES_MAX:
        return f"{len(raw)} bytes are more than {NAME_BYTES_MAX}"
    if b"/" in raw:
        return "it contains a slash"
    if b"\0" in raw:
        return "it contains a NUL byte"
    return "it means another directory"


def check_target(raw: bytes) -> bytes:
    """Check a symlink target. Raises `InvalidTarget`."""
    if not raw:
        raise InvalidTarget(target=raw, reason="it is empty")
    if len(raw) > TARGET_BYTES_MAX:
        raise InvalidTarget(target=raw[:64], reason=f"{len(raw)} bytes are more than {TARGET_BYTES_MAX}")
    if b"\0" in raw:
        raise InvalidTarget(target=raw, reason="it contains a NUL byte")
    return raw
