"""Hot sets in a pack store, beside the contents that they name."""

from __future__ import annotations

from collections.abc import Mapping

from tvix.castore.blobs.interface import Buffer
from tvix.castore.digests import Digest
from tvix.castore.pack.format import HOT_SET
from tvix.castore.pack.store import PackStore
from tvix.castore.transfer.hot_set import check_hot_set, hot_set_name


class PackHotSetService:
    """A `HotSetService` over a `PackStore`, which stays the caller's."""

    def __init__(self, store: PackStore) -> None:
        self._store = store

    def get_hot_set(self, root: Digest, profile: str) -> bytes | None:
        """See `HotSetService`. Raises `DamagedPack`, `StoreFailed`."""
        found = self._store.get(HOT_SET, hot_set_name(root, profile))
        return None if found is None else bytes(found)

    def put_hot_set(self, root: Digest, profile: str, keys: bytes) -> None:
        """See `HotSetService`. What is there already isn't written again. Raises `DiskFull`, `StoreFailed`."""
        check_hot_set(profile, keys)
        name = hot_set_name(root, profile)

        def change(stored: dict[bytes, Buffer]) -> Mapping[bytes, Buffer]:
            return {} if stored.get(name) == keys else {name: keys}

        self._store.update(HOT_SET, (name,), change)
