"""Signed closure roots in a store server."""

from __future__ import annotations

from tvix.castore.remote_channel import CLOSURE_ROOTS, Channel
from tvix.castore.remote_errors import StoreFailed
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.closure_roots.codec import decode_signed_root, encode_signed_root
from tvix.store.closure_roots.interface import SignedRoot
from tvix.store.path_infos.batch_messages import encode_digests


class RemoteClosureRootService:
    """A `ClosureRootService`. Servers of other kinds have none, and take none."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def get(self, digest: StorePathDigest) -> SignedRoot | None:
        """See `ClosureRootService`. Raises `StoreFailed` where the server answers with that of another path."""
        if not self._channel.offers("closure-roots"):
            return None
        answer = self._channel.unary(CLOSURE_ROOTS, "Get", encode_digests([digest]))
        if answer is None:
            return None
        signed = decode_signed_root(answer)
        if signed.path.digest != digest:
            reason = f"it sends that of {signed.path} instead"
            raise StoreFailed(origin=self._channel.origin, method="ClosureRoots.Get", reason=reason)
        return signed

    def put(self, signed: SignedRoot) -> SignedRoot:
        """See `ClosureRootService`. Raises `StoreRefused`, and `StoreFailed` where the server keeps no closure roots."""
        self._channel.flush()
        answer = self._channel.unary(CLOSURE_ROOTS, "Put", encode_signed_root(signed))
        stored = decode_signed_root(answer or b"")
        if (stored.path, stored.root) != (signed.path, signed.root):
            raise StoreFailed(origin=self._channel.origin, method="ClosureRoots.Put", reason="it answers with another root")
        return stored
