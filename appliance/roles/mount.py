"""The mount role: a process that shows a store at a directory until it is told to stop."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from tvix.castore.digests import Digest
from tvix.mount.attach import attach, check_mount_point, detach, open_device, set_read_ahead
from tvix.mount.engines.fuse import FuseSession
from tvix.mount.node_table import ROOT
from tvix.mount.source import Source
from tvix.mount.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tvix.nix_compat.store_path import StorePath
    from tvix.store.store import Store

NEAR_BYTES = 32 << 20
"""How much of a remote store's contents is kept in memory. The kernel's page cache keeps what was read, too."""

DEADLINE_SECONDS = 30.0


class MountSpec(NamedTuple):
    """What to mount, where, and how.

    At most one of `root` (a closure root or any other castore directory) and `closure` (a store path, shown with all it refers to)
    is given; without either the whole store is shown, whose root can be listed where `listing` is true. `store` is an address, or a
    store that answers at once. `over` mounts on a directory that isn't empty, or that something is mounted on already.
    """

    store: str | Store
    destination: str
    root: Digest | None = None
    closure: StorePath | None = None
    listing: bool = False
    allow_other: bool = False
    uid: int = 0
    gid: int = 0
    over: bool = False
    dies_with_parent: bool = True
    status_file: str | None = None


def serve_mount(spec: MountSpec, ready: Callable[[], object] | None = None) -> None:
    """Mount, call `ready`, and serve until SIGTERM, SIGINT or SIGHUP, until the parent process ends, or until it is unmounted.

    To be called in the main thread of a process that does nothing else. Raises what a store that can't be opened raises, what
    `tvix.mount.attach` raises, and `DirectoryNotFound` or `PathNotFound` for a root or a closure that the store doesn't have.
    """
    spec = spec._replace(destination=check_mount_point(spec.destination, spec.over))
    with _stop_on_signals():
        if spec.dies_with_parent:
            _die_with_parent()
        source, close = _open_source(spec.store)
        try:
            _serve(spec, source, ready)
        finally:
            close()


def _serve(spec: MountSpec, source: Source, ready: Callable[[], object] | None) -> None:
    tree = _open_tree(spec, source)
    device = open_device()
    session = FuseSession(device, tree, source, uid=spec.uid, gid=spec.gid, listing=spec.listing, deadline=DEADLINE_SECONDS)
    try:
        attach(device, spec.destination, uid=os.geteuid(), gid=os.getegid(), allow_other=spec.allow_other)
        try:
            set_read_ahead(spec.destination)
            if ready is not None:
                ready()
            session.serve()
        finally:
            detach(spec.destination)
    except _Stop:
        pass
    finally:
        os.close(device)


def _open_source(store: str | Store) -> tuple[Source, Callable[[], None]]:
    if not isinstance(store, str):
        return Source(store), lambda: None
    from tvix.store.addresses import open_store

    if not store.startswith(("grpc+", "cache:")):
        opened = open_store(store)
        return Source(opened), opened.close
    from tvix.store.near_far import near_far

    near = open_store(f"memory:?max={NEAR_BYTES}")
    whole = near_far(near, open_store(store), store)
    return Source(whole, near), whole.close


def _open_tree(spec: MountSpec, source: Source) -> Tree:
    if spec.root is not None:
        directory = source.fetch_directories(spec.root)[spec.root]
        tree = Tree(spec.root)
        tree.adopt(ROOT, directory)
        return tree
    if spec.closure is not None:
        directory = source.closure_of(spec.closure)
        tree = Tree(directory.digest)
        tree.adopt(ROOT, directory)
        return tree
    return Tree(None)


class _Stop(BaseException):
    """A signal asked for the end. Not an `Exception`, so that nothing on the way takes it for a failed request."""


class _stop_on_signals:  # noqa: N801 - reads as a statement
    """SIGTERM, SIGINT and SIGHUP raise `_Stop` inside; harmless outside the main thread, where signals never arrive."""

    _SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, _raise_stop) for number in self._SIGNALS}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _raise_stop(_number: int, _frame: FrameType | None) -> None:
    raise _Stop


def _die_with_parent() -> None:
    from appliance.boot.syscalls import die_with_parent

    parent = os.getppid()
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        raise _Stop
