"""Path infos in memory: for tests, for one-off runs, and as the near end of a machine that has nothing but memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from threading import Lock

from tvix.castore.blobs.interface import BlobService
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.nodes import Node
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.nar import nar_summary
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.interface import NarSummary
from tvix.store.path_infos.merge import merge_path_infos


class MemoryPathInfoService:
    """A `PathInfoService` that forgets nothing. `blobs` and `directories` are where NARs are calculated from."""

    def __init__(self, blobs: BlobService, directories: DirectoryService) -> None:
        self._blobs = blobs
        self._directories = directories
        self._infos: dict[StorePathDigest, PathInfo] = {}
        self._lock = Lock()

    def get_many(self, digests: Collection[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        """See `PathInfoService`."""
        infos = self._infos
        return {digest: infos[digest] for digest in digests if digest in infos}

    def put_many(self, infos: Iterable[PathInfo]) -> list[PathInfo]:
        """See `PathInfoService`. Either all are stored or, where one is refused, none."""
        stored: dict[StorePathDigest, PathInfo] = {}
        answers: list[StorePathDigest] = []
        incoming = list(infos)
        with self._lock:
            for info in incoming:
                digest = info.path.digest
                before = stored.get(digest) or self._infos.get(digest)
                stored[digest] = info if before is None else merge_path_infos(before, info)
                answers.append(digest)
            self._infos.update(stored)
        return [stored[digest] for digest in answers]

    def list(self) -> Iterator[PathInfo]:
        """See `PathInfoService`."""
        return iter(list(self._infos.values()))

    def calculate_nar(self, node: Node) -> NarSummary:
        """See `PathInfoService`. Raises `IncompleteRoot`."""
        return nar_summary(node, self._blobs, self._directories)

    def sync(self) -> None:
        """Memory is as durable as it gets."""

    def close(self) -> None:
        """Nothing to let go of."""
