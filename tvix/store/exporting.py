"""Ways out of a store: a store path as a directory tree, or as a NAR stream."""

from __future__ import annotations

import os
from collections.abc import Callable

from tvix.castore.blobs.interface import Buffer
from tvix.castore.export import export_tree
from tvix.events import Operation, silent
from tvix.nix_compat.store_path import StorePath
from tvix.store.closure import path_info_of
from tvix.store.nar import render_nar
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.checking import check_nar
from tvix.store.path_infos.interface import NarSummary
from tvix.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.events import Emit


def export_path(store: Store, path: StorePath, destination: str | bytes | os.PathLike[str], emit: Emit = silent) -> PathInfo:
    """Write the tree of a store path as `destination`, which must not exist: whole or not at all.

    Raises `PathNotFound` and what `export_tree` raises.
    """
    info = path_info_of(store.path_infos, path)
    export_tree(store.blobs, store.directories, info.node, destination, emit)
    return info


def export_nar(store: Store, path: StorePath, write: Callable[[Buffer], object], emit: Emit = silent) -> PathInfo:
    """Give the NAR of a store path to `write`, piece by piece. That it is the NAR that the path info tells of is known at the end.

    Raises `PathNotFound`, `IncompleteRoot`, `WrongNarHash`, `WrongNarSize`, and what `write` raises.
    """
    from hashlib import sha256

    info = path_info_of(store.path_infos, path)
    hasher = sha256(usedforsecurity=False)
    with Operation(emit, "export", unit="bytes", total=info.nar_size, path=str(path)) as operation:
        for piece in render_nar(info.node, store.blobs, store.directories):
            hasher.update(piece)
            write(piece)
            operation.progress(len(piece))
        check_nar(info, NarSummary(operation.done, hasher.digest()))
    return info
