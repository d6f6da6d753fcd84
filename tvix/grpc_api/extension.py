"""The extension protocol as one list of methods, so that a server's table takes it in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tvix.castore.digests import Digest
from tvix.castore.nodes import DirectoryNode
from tvix.grpc_api.closure_roots_service import ClosureRootMethods
from tvix.grpc_api.doors import Doors
from tvix.grpc_api.methods import Method
from tvix.grpc_api.path_infos_service import PathInfosMethods
from tvix.grpc_api.transfer_service import TransferMethods
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.path_infos.checking import CheckingPathInfoService
from tvix.store.store import Store


def extension_methods(
    store: Store,
    *,
    sync_blobs: Callable[[], None],
    sync_directories: Callable[[], None],
    sync_path_infos: Callable[[], None],
    message_bytes: int,
    doors: Doors | None = None,
) -> Iterator[Method]:
    """What `tvix_appliance.castore.v1` and `tvix_appliance.store.v1` offer of `store`.

    The `sync` functions make things durable; callers are told of `doors`.

    Signed closure roots are offered where the store keeps them.
    """
    features = ["path-infos"]
    if store.closure_roots is not None:
        features.append("closure-roots")
        yield from ClosureRootMethods(store.closure_roots, store.directories, sync_directories).methods()
    yield from PathInfosMethods(
        CheckingPathInfoService(store.path_infos, store.blobs, store.directories), sync_path_infos, message_bytes=message_bytes
    ).methods()
    yield from TransferMethods(
        store.blobs,
        store.directories,
        sync_blobs,
        hot_sets=store.hot_sets,
        features=features,
        message_bytes=message_bytes,
        doors=doors,
        root_of=partial(_root_of, store),
    ).methods()


def _root_of(store: Store, path: bytes) -> Digest | None:
    info = store.path_infos.get_many([StorePathDigest(path)]).get(StorePathDigest(path))
    return info.node.digest if info is not None and type(info.node) is DirectoryNode else None
