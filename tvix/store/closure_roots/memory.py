"""Signed closure roots in memory."""

from __future__ import annotations

from threading import Lock

from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.closure_roots.interface import SignedRoot, merge_signatures


class MemoryClosureRootService:
    """A `ClosureRootService` that forgets nothing."""

    def __init__(self) -> None:
        self._roots: dict[StorePathDigest, SignedRoot] = {}
        self._lock = Lock()

    def get(self, digest: StorePathDigest) -> SignedRoot | None:
        """See `ClosureRootService`."""
        return self._roots.get(digest)

    def put(self, signed: SignedRoot) -> SignedRoot:
        """See `ClosureRootService`."""
        with self._lock:
            merged = merge_signatures(self._roots.get(signed.path.digest), signed)
            self._roots[signed.path.digest] = merged
            return merged
