"""A file that appears under its name when it is complete, or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import TYPE_CHECKING, BinaryIO

from tvix.castore.export import DestinationExists, DestinationUnusable
from tvix.castore.pack.format import disk_error
from tvix.castore.tree import printable

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def new_file(path: str) -> Iterator[BinaryIO]:
    """Open for writing what becomes `path` when the block ends well; nobody else's file is ever replaced.

    Raises `DestinationExists`, `DestinationUnusable`, `DiskFull`, `StoreFailed`.
    """
    name = printable(os.fsencode(path))
    if os.path.lexists(path):
        raise DestinationExists(path=name)
    partial = os.path.join(os.path.dirname(path), f".tvix-{token_hex(8)}")
    try:
        file = open(partial, "xb")  # noqa: SIM115 (closed below, where it may fail)
    except OSError as error:
        raise DestinationUnusable(path=name, reason=error.strerror or str(error)) from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except FileExistsError:
        raise DestinationExists(path=name) from None
    except OSError as error:
        raise disk_error(name, error) from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)
