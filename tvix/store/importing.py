"""Ways into a store: a directory tree as `nix-store --add` takes it, a NAR, and closures of a Nix store on disk.

What comes in is stored first, made durable, and only then registered, so what is interrupted leaves blobs and directories that
nobody sees and that the next attempt finds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256

from tvix.castore.ingest.errors import ChangedWhileReading, Unreadable
from tvix.castore.ingest.filesystem import ingest_tree
from tvix.castore.ingest.fingerprint import Fingerprint
from tvix.castore.ingest.nar import ingest_nar
from tvix.castore.nodes import Node
from tvix.castore.tree import printable
from tvix.errors import EX_USAGE, TvixError
from tvix.events import Operation, silent
from tvix.nix_compat.content_address import ContentAddress
from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.store_path import check_store_path_name, source_path
from tvix.store.closure import MissingReference
from tvix.store.content_addressing import check_content_address
from tvix.store.nar_hash_process import HashedTree, NarHashProcess, hash_tree
from tvix.store.path_info import PathInfo
from tvix.store.path_info_json import InvalidPathInfoJson, ToldPathInfo, parse_path_infos
from tvix.store.path_infos.checking import check_nar
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


def import_closure(
    store: Store,
    nix_store: str | bytes | os.PathLike[str],
    info: str | bytes | os.PathLike[str],
    *,
    hasher: NarHashProcess | None = None,
    emit: Emit = silent,
) -> list[PathInfo]:
    """Store the closure that the file `info` tells of, as `nix path-info -r --json` prints it, from the entries of `nix_store`.

    The directory `nix_store` holds `HASH-NAME` for each path. What is told is checked against the contents and kept: references,
    deriver, signatures, content address. Nothing is registered before everything is stored and checked; then what is
    referred to comes before what refers to it, all at once or, over the network, one by one. Durable on return.

    Raises `InvalidPathInfoJson`, `MissingReference`, `WrongNarHash`, `WrongNarSize`, `WrongContentAddress`, `WrongStorePath`,
    `ConflictingPathInfo`, and what `ingest_tree` raises.
    """
    where = printable(os.fsencode(info))
    try:
        with open(info, "rb") as file:
            told = _referenced_first(parse_path_infos(file.read(), where), where)
    except OSError as error:
        raise Unreadable(path=where, reason=error.strerror or str(error)) from None
    known = store.path_infos.get_many(list({path.digest for one in told for path in (one.path, *one.references)}))
    closed = {one.path for one in told} | {one.path for one in known.values()}
    for one in told:
        for reference in one.references:
            if reference not in closed:
                raise MissingReference(path=reference, referrer=one.path)
    infos: list[PathInfo] = []
    with Operation(emit, "import closure", unit="paths", total=len(told)) as operation:
        for one in told:
            stored = known.get(one.path.digest)
            if stored is None:
                tree = os.path.join(os.fsencode(nix_store), one.path.basename.encode())
                node, nar = ingest_and_hash(store, tree, hasher=hasher, emit=emit)
            else:
                node, nar = stored.node, NarSummary(stored.nar_size, stored.nar_sha256)
            incoming = one.with_node(node)
            check_nar(incoming, nar)
            if stored is None or stored.content_address != incoming.content_address:
                check_content_address(incoming, store.blobs, store.directories)
            infos.append(incoming)
            operation.progress()
        return _register_all(store, infos)


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
    return _register_all(store, [info])[0]


def _register_all(store: Store, infos: list[PathInfo]) -> list[PathInfo]:
    """Path infos last: what they refer to is durable before."""
    store.blobs.sync()
    store.directories.sync()
    stored = store.path_infos.put_many(infos)
    store.path_infos.sync()
    return stored


def _referenced_first(told: list[ToldPathInfo], where: str) -> list[ToldPathInfo]:
    from graphlib import CycleError, TopologicalSorter

    by_path = {one.path: one for one in told}
    graph = {path: [reference for reference in one.references if reference != path] for path, one in by_path.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        cycle = " → ".join(str(path) for path in error.args[1])
        raise InvalidPathInfoJson(where=where, reason=f"paths refer to each other in a circle: {cycle}") from None
    return [by_path[path] for path in order if path in by_path]


def _name_of(path: str | bytes | os.PathLike[str]) -> str:
    raw = os.fsencode(path)
    last = os.path.basename(os.path.abspath(raw))
    if not last:
        raise NoName(path=printable(raw))
    return printable(last)
