"""What a store of path infos can do. Implementations are safe to share between threads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from tvix.castore.nodes import Node
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.path_info import PathInfo


class NarSummary(NamedTuple):
    """Size in bytes and SHA-256 (32 bytes) of a NAR."""

    size: int
    sha256: bytes


class PathInfoService(Protocol):
    """A map from store path digests to path infos."""

    def get_many(self, digests: Collection[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        """Those that are here. Raises `StoreUnavailable`."""

    def put_many(self, infos: Iterable[PathInfo]) -> list[PathInfo]:
        """Store path infos and say them as stored: the same root merges signatures.

        Raises `ConflictingPathInfo` where another root is stored for a path.
        """

    def list(self) -> Iterator[PathInfo]:
        """Everything here, in no particular order."""

    def calculate_nar(self, node: Node) -> NarSummary:
        """Size and hash of the NAR of what `node` is the root of."""

    def sync(self) -> None:
        """Make everything written so far durable, and visible to other processes."""

    def close(self) -> None:
        """Sync, and let go of files and connections."""


@runtime_checkable
class ClosureService(Protocol):
    """What a `PathInfoService` can offer besides: whole closures in one round trip."""

    def closure(self, digests: Collection[StorePathDigest]) -> Iterator[PathInfo] | None:
        """The path infos of `digests` and of everything they refer to, each once, in any order; what isn't here is left out.

        None where it can't do that after all, as with a server of another kind behind it.
        """
