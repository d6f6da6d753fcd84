"""Two stores of path infos as one: what is found far is kept near; what is put goes near alone.

That something isn't far is never remembered: it may be there a moment later. Where the far end can't be reached, what is near is
still found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from tvix.castore.blobs.interface import Forgotten
from tvix.castore.nodes import Node
from tvix.castore.pack.format import DiskFull, StoreFailed
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.completeness import IncompleteRoot
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.interface import ClosureService, NarSummary, PathInfoService


class NearFarPathInfoService:
    """A `PathInfoService` of `near` in front of `far`."""

    def __init__(self, near: PathInfoService, far: PathInfoService) -> None:
        self._near = near
        self._far = far

    def get_many(self, digests: Collection[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        """See `PathInfoService`. What comes from far is kept near; near may refuse it, then it isn't handed out either."""
        found = self._near.get_many(digests)
        absent = [digest for digest in dict.fromkeys(digests) if digest not in found]
        if absent:
            fetched = self._far.get_many(absent)
            if fetched:
                with suppress(DiskFull, StoreFailed):  # then it is asked for again the next time
                    self._near.put_many(fetched.values())
                found = found | fetched
        return found

    def put_many(self, infos: Iterable[PathInfo]) -> list[PathInfo]:
        """See `PathInfoService`. A path that is far with another root is refused, as one store would."""
        incoming = list(infos)
        self.get_many({info.path.digest for info in incoming})
        return self._near.put_many(incoming)

    def closure(self, digests: Collection[StorePathDigest]) -> Iterator[PathInfo] | None:
        """See `ClosureService`: as far as near knows, then one question for the rest, which is kept near."""
        if not isinstance(self._far, ClosureService):
            return None
        found: dict[StorePathDigest, PathInfo] = {}
        absent: dict[StorePathDigest, None] = {}
        level = dict.fromkeys(digests)
        while level:
            here = self._near.get_many(level)
            found.update(here)
            absent.update((digest, None) for digest in level if digest not in here)
            references = (path.digest for info in here.values() for path in info.references)
            level = {digest: None for digest in references if digest not in found and digest not in absent}
        if absent:
            told = self._far.closure(absent)
            if told is None:
                return None
            fetched = {info.path.digest: info for info in told}
            fresh = [info for digest, info in fetched.items() if digest not in found]
            if fresh:
                self._near.put_many(fresh)
            found = fetched | found
        return iter(found.values())

    def list(self) -> Iterator[PathInfo]:
        """Everything near, then what is far alone."""
        seen: set[StorePathDigest] = set()
        for info in self._near.list():
            seen.add(info.path.digest)
            yield info
        for info in self._far.list():
            if info.path.digest not in seen:
                yield info

    def calculate_nar(self, node: Node) -> NarSummary:
        """See `PathInfoService`: near where the whole tree is near, else far, so that no contents travel for a hash."""
        try:
            return self._near.calculate_nar(node)
        except (IncompleteRoot, Forgotten):
            return self._far.calculate_nar(node)

    def sync(self) -> None:
        """See `PathInfoService`."""
        self._near.sync()

    def close(self) -> None:
        """Close both."""
        self._near.close()
        self._far.close()
