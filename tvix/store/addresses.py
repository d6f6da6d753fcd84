"""Store addresses: the URL that names a whole store. What they may say is in `tvix.castore.addresses`.

A scheme that isn't known here is looked up in the entry-point group `tvix.backends`: an entry point of the scheme's name, which
loads a callable that takes the URL and gives a `Store`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from tvix.castore.addresses import Address, InvalidStoreUrl, chunk_size, near_address, open_pack, parse_address, trusts_lists
from tvix.store.store import Store

_ENTRY_POINTS = "tvix.backends"


def open_store(url: str) -> Store:
    """The store at `url`. Raises `InvalidStoreUrl`, and what its back end raises when it can't be opened."""
    try:
        address = parse_address(url)
    except InvalidStoreUrl:
        backend = _extension(url.partition(":")[0])
        if backend is None:
            raise
        return backend(url)
    return open_address(address)


def open_address(address: Address) -> Store:
    """The same for an address that was taken apart already."""
    if address.scheme == "cache":
        from tvix.store.near_far import near_far

        far_name = address.parameter("far")
        far = open_store(far_name)
        return near_far(open_address(near_address(address)), far, far_name, trusts_lists=trusts_lists(far_name))
    from tvix.castore.addresses import open_castore

    if address.scheme == "memory":
        from tvix.castore.transfer.hot_set_memory import MemoryHotSetService
        from tvix.store.closure_roots.memory import MemoryClosureRootService
        from tvix.store.path_infos.memory import MemoryPathInfoService

        castore = open_castore(address)
        return Store(*castore, MemoryPathInfoService(*castore), MemoryHotSetService(), MemoryClosureRootService())
    if address.scheme == "pack":
        return _open_pack(address)
    from tvix.castore.blobs.remote import RemoteBlobService
    from tvix.castore.directories.remote import RemoteDirectoryService
    from tvix.castore.remote_channel import open_channel
    from tvix.castore.transfer.hot_set_remote import RemoteHotSetService
    from tvix.store.closure_roots.remote import RemoteClosureRootService
    from tvix.store.path_infos.remote import RemotePathInfoService

    channel = open_channel(address)
    return Store(
        RemoteBlobService(channel),
        RemoteDirectoryService(channel),
        RemotePathInfoService(channel),
        RemoteHotSetService(channel),
        RemoteClosureRootService(channel),
    )


def _open_pack(address: Address) -> Store:
    from tvix.castore.blobs.pack import PackBlobService
    from tvix.castore.directories.pack import PackDirectoryService
    from tvix.castore.transfer.hot_set_pack import PackHotSetService
    from tvix.store.closure_roots.pack import PackClosureRootService
    from tvix.store.path_infos.pack import PackPathInfoService

    average = chunk_size(address)
    pack = open_pack(address)
    blobs = PackBlobService(pack, average_chunk_bytes=average)
    directories = PackDirectoryService(pack)
    return Store(
        blobs, directories, PackPathInfoService(pack, blobs, directories), PackHotSetService(pack), PackClosureRootService(pack)
    )


def _extension(scheme: str) -> Callable[[str], Store] | None:
    """The back end that another package provides for `scheme`, if one does."""
    try:
        from importlib.metadata import entry_points
    except ModuleNotFoundError:  # the smallest build, which has no other packages in it either
        return None

    for entry_point in entry_points(group=_ENTRY_POINTS, name=scheme):
        return cast("Callable[[str], Store]", entry_point.load())
    return None
