"""Closures: a store path and everything it refers to, directly or not; and closure roots.

A closure root is the digest of a castore directory whose entries are the store paths of a closure, named HASH-NAME. Who pins it has
pinned every byte that a program can see, since the digest covers all names, all directories and all blobs below.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tvix.castore.digests import Digest
from tvix.castore.directory import Directory
from tvix.castore.nodes import Name
from tvix.errors import EX_NOINPUT, TvixError
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.interface import ClosureService, PathInfoService
from tvix.store.store import Store


class PathNotFound(TvixError):
    """A store path that was asked for is not in the store."""

    identifier = "store.path-not-found"
    message = "{path} is not in the store"
    hint = "import it, or name a store that has it with --store"
    exit_code = EX_NOINPUT


class MissingReference(TvixError):
    """A store path refers to one that is not in the store."""

    identifier = "store.missing-reference"
    message = "{referrer} refers to {path}, which is not in the store"
    hint = "import the whole closure; what is there already is skipped"
    exit_code = EX_NOINPUT


def path_info_of(path_infos: PathInfoService, path: StorePath) -> PathInfo:
    """The path info of one store path. Raises `PathNotFound`, also where the digest is there under another name."""
    info = path_infos.get_many([path.digest]).get(path.digest)
    if info is None or info.path != path:
        raise PathNotFound(path=path)
    return info


def closure(path_infos: PathInfoService, paths: Iterable[StorePath]) -> dict[StorePath, PathInfo]:
    """The path infos of `paths` and of everything they refer to, ascending by path.

    One round trip where the store offers that, else one for each level of references.

    Raises `PathNotFound` for one of `paths`, `MissingReference` for what they refer to.
    """
    found: dict[StorePath, PathInfo] = {}
    referrers: dict[StorePath, StorePath | None] = dict.fromkeys(paths)
    told: dict[StorePathDigest, PathInfo] = {}
    if isinstance(path_infos, ClosureService):
        told = {info.path.digest: info for info in path_infos.closure([path.digest for path in referrers]) or ()}
    while referrers:
        infos = {path.digest: told[path.digest] for path in referrers if path.digest in told}
        if len(infos) < len(referrers):
            infos |= path_infos.get_many([path.digest for path in referrers if path.digest not in infos])
        level = referrers
        referrers = {}
        for path, referrer in level.items():
            info = infos.get(path.digest)
            if info is None or info.path != path:
                raise PathNotFound(path=path) if referrer is None else MissingReference(path=path, referrer=referrer)
            found[path] = info
        for path in level:
            for reference in found[path].references:
                if reference not in found:
                    referrers.setdefault(reference, path)
    return dict(sorted(found.items()))


def closure_directory(infos: Collection[PathInfo]) -> Directory:
    """The directory of a closure: one entry for each path info."""
    return Directory.of((Name(info.path.basename.encode()), info.node) for info in infos)


def closure_root(store: Store, paths: Iterable[StorePath]) -> Digest:
    """The closure root of `paths`, stored in the directory service and durable. Raises as `closure` does."""
    directory = closure_directory(closure(store.path_infos, paths).values())
    store.directories.put([directory])
    store.directories.sync()
    return directory.digest
