"""A store: blobs, directories and path infos that belong together."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from tvix.castore.blobs.interface import BlobService
from tvix.castore.directories.interface import DirectoryService
from tvix.store.path_infos.interface import PathInfoService


class Store:
    """The three services of one store; a context manager that closes them.

    What refers is synced after what it refers to, so a crash leaves nothing that points at what isn't there.
    """

    __slots__ = ("blobs", "directories", "path_infos")

    def __init__(self, blobs: BlobService, directories: DirectoryService, path_infos: PathInfoService) -> None:
        self.blobs = blobs
        self.directories = directories
        self.path_infos = path_infos

    def sync(self) -> None:
        """Make everything written so far durable, and visible to other processes."""
        self.blobs.sync()
        self.directories.sync()
        self.path_infos.sync()

    def close(self) -> None:
        """Sync, and let go of files and connections, these also where syncing fails. Harmless twice."""
        with ExitStack() as stack:
            for service in (self.blobs, self.directories, self.path_infos):
                stack.callback(service.close)
            self.sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
