"""Ways into a store: a directory tree as `nix-store --add` takes it, a NAR, and closures of a Nix store on disk.

What comes in is stored first, made durable, and only then registered, so what is interrupted leaves blobs and directories that
nobody sees and that the next attempt finds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256

from tvix.castore.ingest.errors import ChangedWhileReading
from tvix.castore.ingest.filesystem import ingest_tree
from tvix.castore.ingest.fingerprint import Fingerprint
from tvix.castore.ingest.nar import ingest_nar
from tvix.castore.nodes import Node
from tvix.castore.tree import printable
from tvix.errors import EX_USAGE, TvixError
from tvix.events import silent
from tvix.nix_compat.content_address import ContentAddress
from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.store_path import check_store_path_name, source_path
from tvix.store.nar_hash_process import HashedTree, NarHashProcess, hash_tree
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.interface import NarSummary
from tvix.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.events import Emit


class NoName(TvixError):
    """A path whose last component can't say what its store path shall be called."""

    identifier = "store.no-name"
    message = "{path} has no name to be stored under"
    hint = "say one with --name"
    exit_code = EX_USAGE


def import_path(
    store: Store,
    path: str | bytes | os.PathLike[str],
    name: str | None = None,
    *,
    hasher: NarHashProcess | None = None,
    emit: Emit = silent,
) -> PathInfo:
    """Store the directory, file or symlink at `path` under the store path that `nix-store --add` would give it; durable on return.

    `name` is the last component of `path` where it isn't given. `hasher` hashes beside the ingest; without it this process walks
    twice. Raises `NoName`, `InvalidStorePathName`, what `ingest_tree` raises, and `ConflictingPathInfo`.
    """
    name = check_store_path_name(_name_of(path) if name is None else name)
    node, nar = ingest_and_hash(store, path, hasher=hasher, emit=emit)
    return _register(store, name, node, nar)


def import_nar(store: Store, read: Callable[[int], bytes], name: str, *, emit: Emit = silent) -> PathInfo:
    """Store the tree of a NAR under the name `name`, as `import_path` would its tree; durable on return.

    `read(n)` gives at most n bytes, none at the end. Raises `InvalidStorePathName`, subclasses of `InvalidNar`.
    """
    check_store_path_name(name)
    hasher = sha256(usedforsecurity=False)
    size = 0

    def hashing_read(limit: int) -> bytes:
        nonlocal size
        piece = read(limit)
        hasher.update(piece)
        size += len(piece)
        return piece

    node = ingest_nar(hashing_read, store.blobs, store.directories, emit)
    return _register(store, name, node, NarSummary(size, hasher.digest()))


def ingest_and_hash(
    store: Store, path: str | bytes | os.PathLike[str], *, hasher: NarHashProcess | None = None, emit: Emit = silent
) -> tuple[Node, NarSummary]:
    """Store what is at `path` without registering it: its root, and its NAR's size and hash. Nothing is durable yet.

    Raises what `ingest_tree` raises; `ChangedWhileReading` also where the two walks didn't see the same.
    """
    fingerprint = Fingerprint()
    if hasher is not None:
        hasher.start(path)
    try:
        node = ingest_tree(path, store.blobs, store.directories, emit, fingerprint=fingerprint)
    except BaseException:
        if hasher is not None:
            hasher.abandon()
        raise
    hashed: HashedTree = hash_tree(path) if hasher is None else hasher.result()
    if hashed.fingerprint != fingerprint.value:
        raise ChangedWhileReading(path=printable(os.fsencode(path)), reason="two walks over it didn't see the same")
    return node, hashed.nar


def _register(store: Store, name: str, node: Node, nar: NarSummary) -> PathInfo:
    info = PathInfo(
        path=source_path(name, nar.sha256),
        node=node,
        nar_size=nar.size,
        nar_sha256=nar.sha256,
        content_address=ContentAddress("nar", Hash("sha256", nar.sha256)),
    )
    store.blobs.sync()
    store.directories.sync()
    (stored,) = store.path_infos.put_many([info])
    store.path_infos.sync()
    return stored


def _name_of(path: str | bytes | os.PathLike[str]) -> str:
    raw = os.fsencode(path)
    last = os.path.basename(os.path.abspath(raw))
    if not last:
        raise NoName(path=printable(raw))
    return printable(last)
