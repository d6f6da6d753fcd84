"""A store: blobs, directories and path infos that belong together."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from tvix.castore.blobs.interface import BlobService
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.transfer.hot_set import HotSetService
from tvix.store.closure_roots.interface import ClosureRootService
from tvix.store.path_infos.interface import PathInfoService


class Store:
    """The services of one store, two of which not every back end has; a context manager that closes them.

    What refers is synced after what it refers to, so a crash leaves nothing that points at what isn't there.
    """

    __slots__ = ("blobs", "closure_roots", "directories", "hot_sets", "path_infos")

    def __init__(
        self,
        blobs: BlobService,
        directories: DirectoryService,
        path_infos: PathInfoService,
        hot_sets: HotSetService | None = None,
        closure_roots: ClosureRootService | None = None,
    ) -> None:
        self.blobs = blobs
        self.directories = directories
        self.path_infos = path_infos
        self.hot_sets = hot_sets
        """What programs read the last time; None where the store keeps no such thing."""
        self.closure_roots = closure_roots
        """Signed closure roots; None where the store keeps no such thing."""

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
