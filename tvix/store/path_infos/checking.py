"""What a store that is written to by others holds them to: nothing that a path info says is believed.

Blobs and directories are named by their digests, so they can't lie; a path info can. Before one is stored its tree must be
complete, its NAR is rendered and hashed here, and its content address and store path are computed anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from tvix.castore.blobs.interface import BlobService
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.nodes import Node
from tvix.errors import EX_DATAERR, TvixError
from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.completeness import check_complete
from tvix.store.content_addressing import check_content_address
from tvix.store.nar import nar_summary
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.interface import NarSummary, PathInfoService
from tvix.store.path_infos.merge import merge_path_infos


class WrongNarHash(TvixError):
    """The NAR of a root hashes to something else than a path info says."""

    identifier = "store.wrong-nar-hash"
    message = "{path} is said to have the NAR hash {said}; its contents have {actual}"
    hint = "the contents were changed, or the path info is of something else"
    exit_code = EX_DATAERR


class WrongNarSize(TvixError):
    """The NAR of a root has another size than a path info says."""

    identifier = "store.wrong-nar-size"
    message = "{path} is said to have a NAR of {said} bytes; its contents make {actual}"
    hint = "the contents were changed, or the path info is of something else"
    exit_code = EX_DATAERR


def check_nar(info: PathInfo, actual: NarSummary) -> None:
    """Compare what a path info says with what was computed. Raises `WrongNarSize`, `WrongNarHash`."""
    if info.nar_sha256 != actual.sha256:
        raise WrongNarHash(path=info.path, said=_sri(info.nar_sha256), actual=_sri(actual.sha256))
    if info.nar_size != actual.size:
        raise WrongNarSize(path=info.path, said=info.nar_size, actual=actual.size)


def _sri(digest: bytes) -> str:
    return Hash("sha256", digest).print("sri")


class CheckingPathInfoService:
    """A `PathInfoService` over `inner` that stores only what it has checked against `blobs` and `directories`."""

    def __init__(self, inner: PathInfoService, blobs: BlobService, directories: DirectoryService) -> None:
        self._inner = inner
        self._blobs = blobs
        self._directories = directories

    def get_many(self, digests: Collection[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        """See `PathInfoService`."""
        return self._inner.get_many(digests)

    def put_many(self, infos: Iterable[PathInfo]) -> list[PathInfo]:
        """See `PathInfoService`. All are checked before the first is stored.

        Raises `IncompleteRoot`, `WrongNarHash`, `WrongNarSize`, `WrongContentAddress`, `WrongStorePath`, `WrongBlobSize`.
        """
        incoming = list(infos)
        stored = self._inner.get_many([info.path.digest for info in incoming])
        for info in incoming:
            self._check(info, stored.get(info.path.digest))
        return self._inner.put_many(incoming)

    def list(self) -> Iterator[PathInfo]:
        """See `PathInfoService`."""
        return self._inner.list()

    def calculate_nar(self, node: Node) -> NarSummary:
        """See `PathInfoService`."""
        return self._inner.calculate_nar(node)

    def sync(self) -> None:
        """See `PathInfoService`."""
        self._inner.sync()

    def close(self) -> None:
        """See `PathInfoService`."""
        self._inner.close()

    def _check(self, info: PathInfo, stored: PathInfo | None) -> None:
        if stored is not None:
            merged = merge_path_infos(stored, info)
            if merged._replace(signatures=(), deriver=None) == stored._replace(signatures=(), deriver=None):
                return  # only who vouches for it is new, and what was stored has been checked
        else:
            check_complete(info.node, self._blobs, self._directories)
            check_nar(info, nar_summary(info.node, self._blobs, self._directories))
        check_content_address(info, self._blobs, self._directories)
