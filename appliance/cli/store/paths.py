"""Store paths as people write them, and what lies below them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from tvix.errors import EX_NOINPUT, TvixError

if TYPE_CHECKING:
    from tvix.castore.nodes import Node
    from tvix.nix_compat.store_path import StorePath
    from tvix.store.store import Store


class NotInPath(TvixError):
    """A store path is there, but nothing of this name below it."""

    identifier = "cli.not-in-path"
    message = "{path} has no {rest}"
    hint = "`tvix store ls` with the store path shows what it has; symlinks are not followed"
    exit_code = EX_NOINPUT


class Place(NamedTuple):
    """Something in a store: the store path, the components below it, and the node that is there."""

    path: StorePath
    components: tuple[bytes, ...]
    node: Node

    def __str__(self) -> str:
        return "/".join((str(self.path), *map(os.fsdecode, self.components)))


def find(store: Store, text: str) -> Place:
    """What `/nix/store/HASH-NAME[/COMPONENT…]` names. Raises `InvalidStorePath`, `InvalidName`, `PathNotFound`, `NotInPath`."""
    from tvix.castore.tree import descend, split_path
    from tvix.nix_compat.store_path import split_store_path
    from tvix.store.closure import path_info_of

    path, rest = split_store_path(text)
    components = split_path(os.fsencode(rest))
    info = path_info_of(store.path_infos, path)
    node = descend(store.directories, info.node, components)
    if node is None:
        raise NotInPath(path=path, rest=rest)
    return Place(path, tuple(components), node)
