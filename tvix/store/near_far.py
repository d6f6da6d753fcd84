"""Two stores as one: read near, else fetch from far, verified, and keep near. This is what makes a mount lazy."""

from __future__ import annotations

from tvix.castore.blobs.near_far import NearFarBlobService
from tvix.castore.directories.near_far import NearFarDirectoryService
from tvix.store.path_infos.near_far import NearFarPathInfoService
from tvix.store.store import Store


def near_far(near: Store, far: Store, far_name: str, *, trusts_lists: bool = False) -> Store:
    """A store of `near` in front of `far`, which errors call `far_name`. Writes go near. Closing it closes both.

    `trusts_lists` is what the address of `far` says (`Address.trusts_lists`).

    Hot sets and signed closure roots are those of `far` where it keeps such things.
    """
    return Store(
        NearFarBlobService(near.blobs, far.blobs, far_name, trusts_lists=trusts_lists),
        NearFarDirectoryService(near.directories, far.directories, far_name),
        NearFarPathInfoService(near.path_infos, far.path_infos),
        far.hot_sets or near.hot_sets,
        far.closure_roots or near.closure_roots,
    )
