"""The directory of a pack store: recognised, or made."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import get_ident

from tvix.castore.pack.format import (
    FORMAT_FILE,
    PACKS_DIRECTORY,
    VERSION,
    NotAPackStore,
    check_format,
    disk_error,
    format_line,
)


def prepare(path: str) -> None:
    """Check the format file, or make a new store. Raises `NotAPackStore`, `NewerFormat`, `StoreFailed`, `DiskFull`."""
    format_path = os.path.join(path, FORMAT_FILE)
    try:
        with open(format_path, "rb") as file:
            check_format(path, file.read(4096))
        return
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        raise NotAPackStore(path=path, reason="it is not a directory") from None
    except OSError as error:
        raise disk_error(format_path, error, "read") from None
    try:
        os.makedirs(path, exist_ok=True)
        if any(name != PACKS_DIRECTORY and not name.startswith(FORMAT_FILE) for name in os.listdir(path)):
            raise NotAPackStore(path=path, reason="it holds other things and has no format file")
        os.makedirs(os.path.join(path, PACKS_DIRECTORY), exist_ok=True)
        write_file(format_path, format_line())
        sync_directory(os.path.dirname(path))
    except FileExistsError:
        raise NotAPackStore(path=path, reason="it is not a directory") from None
    except OSError as error:
        raise disk_error(path, error, "made") from None


def upgrade(path: str) -> None:
    """Say that a store may hold what this version writes. Raises `NewerFormat`, `NotAPackStore`, `OSError`."""
    format_path = os.path.join(path, FORMAT_FILE)
    with open(format_path, "rb") as file:
        if check_format(path, file.read(4096)) < VERSION:
            write_file(format_path, format_line())


def write_file(path: str, contents: bytes) -> None:
    """Put a small file in its place, whole and durable. Raises `OSError`."""
    partial = f"{path}.{os.getpid()}.{get_ident()}"
    try:
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            while contents:
                contents = contents[os.write(fd, contents) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(partial, path)
    except OSError:
        with suppress(OSError):
            os.unlink(partial)
        raise
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make what was made or renamed in a directory durable. Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
