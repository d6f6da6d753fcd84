"""Signed closure roots in a pack store: the published message of each, under the digest of its store path."""

from __future__ import annotations

from collections.abc import Mapping

from tvix.castore.blobs.interface import Buffer
from tvix.castore.pack.format import SIGNED_ROOT
from tvix.castore.pack.store import PackStore
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.closure_roots.codec import decode_signed_root, encode_signed_root
from tvix.store.closure_roots.interface import SignedRoot, merge_signatures


class PackClosureRootService:
    """A `ClosureRootService` over a `PackStore`, which stays the caller's. Writers in other processes lose nothing."""

    def __init__(self, store: PackStore) -> None:
        self._store = store

    def get(self, digest: StorePathDigest) -> SignedRoot | None:
        """See `ClosureRootService`. Raises `DamagedPack`, `StoreFailed`."""
        found = self._store.get(SIGNED_ROOT, digest)
        return None if found is None else decode_signed_root(bytes(found))

    def put(self, signed: SignedRoot) -> SignedRoot:
        """See `ClosureRootService`. Raises `DiskFull`, `StoreFailed`."""
        merged = signed
        digest = signed.path.digest

        def change(stored: dict[bytes, Buffer]) -> Mapping[bytes, Buffer]:
            nonlocal merged
            before = stored.get(digest)
            merged = merge_signatures(None if before is None else decode_signed_root(bytes(before)), signed)
            encoded = encode_signed_root(merged)
            return {} if before == encoded else {digest: encoded}

        self._store.update(SIGNED_ROOT, (digest,), change)
        return merged
