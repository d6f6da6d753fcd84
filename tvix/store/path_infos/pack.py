"""Path infos in a pack store: the published message of each, under the digest of its store path.

The one kind of record that is ever replaced, when signatures are added: reading, merging and writing are one step there, so writers
in other processes lose nothing. A path info is durable when `put_many` returns, and all that was stored before it is too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from tvix.castore.blobs.interface import BlobService, Buffer
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.nodes import Node
from tvix.castore.pack.format import PATH_INFO
from tvix.castore.pack.store import PackStore
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.nar import nar_summary
from tvix.store.path_info import PathInfo
from tvix.store.path_info_codec import decode_path_info, encode_path_info
from tvix.store.path_infos.interface import NarSummary
from tvix.store.path_infos.merge import merge_path_infos


class PackPathInfoService:
    """A `PathInfoService` in `pack`. `blobs` and `directories` are where NARs are calculated from."""

    def __init__(self, pack: PackStore, blobs: BlobService, directories: DirectoryService) -> None:
        self._pack = pack
        self._blobs = blobs
        self._directories = directories

    def get_many(self, digests: Collection[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        """See `PathInfoService`."""
        asked = list(digests)
        payloads = self._pack.get_many(PATH_INFO, asked)
        return {
            digest: decode_path_info(bytes(payload)) for digest, payload in zip(asked, payloads, strict=True) if payload is not None
        }

    def put_many(self, infos: Iterable[PathInfo]) -> list[PathInfo]:
        """See `PathInfoService`. Either all are stored or, where one is refused, none."""
        incoming = list(infos)
        merged: dict[bytes, PathInfo] = {}

        def change(stored: dict[bytes, Buffer]) -> Mapping[bytes, Buffer]:
            merged.clear()
            merged.update((digest, decode_path_info(bytes(payload))) for digest, payload in stored.items())
            for info in incoming:
                before = merged.get(info.path.digest)
                merged[info.path.digest] = info if before is None else merge_path_infos(before, info)
            encoded = {digest: encode_path_info(info) for digest, info in merged.items()}
            return {digest: payload for digest, payload in encoded.items() if stored.get(digest) != payload}

        if incoming:
            self._pack.update(PATH_INFO, {info.path.digest for info in incoming}, change)
        return [merged[info.path.digest] for info in incoming]

    def list(self) -> Iterator[PathInfo]:
        """See `PathInfoService`."""
        for _digest, payload in self._pack.iterate(PATH_INFO):
            yield decode_path_info(bytes(payload))

    def calculate_nar(self, node: Node) -> NarSummary:
        """See `PathInfoService`. Raises `IncompleteRoot`."""
        return nar_summary(node, self._blobs, self._directories)

    def sync(self) -> None:
        """See `PathInfoService`."""
        self._pack.sync()

    def close(self) -> None:
        """Close the pack store, which other services may share. Harmless twice."""
        self._pack.close()
