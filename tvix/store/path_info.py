"""What is known of a store path: its root node, its NAR's hash and size, what it refers to, who vouches for it."""

from __future__ import annotations

from typing import NamedTuple

from tvix.castore.nodes import Node
from tvix.nix_compat.content_address import ContentAddress
from tvix.nix_compat.signatures import Signature
from tvix.nix_compat.store_path import StorePath


class _Fields(NamedTuple):
    path: StorePath
    node: Node
    nar_size: int
    nar_sha256: bytes
    references: tuple[StorePath, ...] = ()
    signatures: tuple[Signature, ...] = ()
    deriver: StorePath | None = None
    content_address: ContentAddress | None = None
    registration_time: int | None = None


class PathInfo(_Fields):
    """A store path's record. `nar_size` is in bytes, `nar_sha256` has 32; `references` are in ascending order, itself among them
    where it refers to itself. When it was registered makes no difference between two.

    No dataclass, since those bring `inspect` and with it a fifth of what a machine imports that boots.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PathInfo) and self[:-1] == other[:-1]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:-1])

    def with_signatures(self, more: tuple[Signature, ...]) -> PathInfo:
        """The same with those of `more` that it lacks."""
        return self._replace(signatures=self.signatures + tuple(s for s in more if s not in self.signatures))
