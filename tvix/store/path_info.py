"""What is known of a store path: its root node, its NAR's hash and size, what it refers to, who vouches for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tvix.castore.nodes import Node
from tvix.nix_compat.content_address import ContentAddress
from tvix.nix_compat.signatures import Signature
from tvix.nix_compat.store_path import StorePath


@dataclass(frozen=True, slots=True)
class PathInfo:
    """A store path's record. `nar_size` is in bytes, `nar_sha256` has 32; `references` are in ascending order, itself among them
    where it refers to itself."""

    path: StorePath
    node: Node
    nar_size: int
    nar_sha256: bytes
    references: tuple[StorePath, ...] = ()
    signatures: tuple[Signature, ...] = ()
    deriver: StorePath | None = None
    content_address: ContentAddress | None = None
    registration_time: int | None = field(default=None, compare=False)

    def with_signatures(self, more: tuple[Signature, ...]) -> PathInfo:
        """The same with those of `more` that it lacks."""
        return replace(self, signatures=self.signatures + tuple(s for s in more if s not in self.signatures))
