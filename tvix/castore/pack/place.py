"""The directory of a pack store: recognised, or made."""

from __future__ import annotations

import os

from tvix.castore.pack.format import (
    FORMAT_FILE,
    PACKS_DIRECTORY,
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
        partial = f"{format_path}.{os.getpid()}"
        with open(partial, "wb") as file:
            file.write(format_line())
            file.flush()
            os.fsync(file.fileno())
        os.rename(partial, format_path)
        _sync_directory(path)
        _sync_directory(os.path.dirname(path))
    except FileExistsError:
        raise NotAPackStore(path=path, reason="it is not a directory") from None
    except OSError as error:
        raise disk_error(path, error, "made") from None


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
