"""A signed closure root, and what a store of them can do. Implementations are safe to share between threads.

What is signed is `tvix-root;1;STORE_PATH;DIGEST`, with the closure root written `blake3-BASE64`. Since the root covers every byte
of the closure, one small object that verifies makes all of it trustworthy, and nothing need be read to know that.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tvix.castore.digests import Digest, print_digest
from tvix.nix_compat.signatures import Signature, SigningKey
from tvix.nix_compat.store_path import StorePath, StorePathDigest

SIGNATURES_MAX = 64
"""Of one root; where more come together, the latest stay."""


class SignedRoot(NamedTuple):
    """The closure root of a store path, and signatures of it, which are only as good as the keys that verify them."""

    path: StorePath
    root: Digest
    signatures: tuple[Signature, ...] = ()

    @property
    def message(self) -> bytes:
        """What the signatures cover."""
        return f"tvix-root;1;{self.path};{print_digest(self.root)}".encode()

    def signed_by(self, key: SigningKey) -> SignedRoot:
        """With one signature more."""
        return merge_signatures(self, self._replace(signatures=(key.sign(self.message),)))


class ClosureRootService(Protocol):
    """A map from store path digests to signed closure roots."""

    def get(self, digest: StorePathDigest) -> SignedRoot | None:
        """None where there is none. Raises `StoreUnavailable`."""

    def put(self, signed: SignedRoot) -> SignedRoot:
        """Store it, durably, and say it as stored: the same root of the same path merges signatures, another replaces all."""


def merge_signatures(stored: SignedRoot | None, incoming: SignedRoot) -> SignedRoot:
    """What a store holds after `incoming`."""
    if stored is None or (stored.path, stored.root) != (incoming.path, incoming.root):
        signatures = incoming.signatures
    else:
        signatures = stored.signatures + incoming.signatures
    return incoming._replace(signatures=tuple(dict.fromkeys(signatures))[-SIGNATURES_MAX:])
