"""The mount role: a process that shows a store at a directory until it is told to stop."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from tvix.mount.attach import attach, check_mount_point, detach, open_device, set_read_ahead
from tvix.mount.counters import Counters
from tvix.mount.engines.fuse import FuseSession
from tvix.mount.node_table import ROOT
from tvix.mount.source import Source
from tvix.mount.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tvix.castore.digests import Digest
    from tvix.nix_compat.store_path import StorePath
    from tvix.store.store import Store

NEAR_BYTES = 32 << 20
"""How much of a remote store's contents is kept in memory. The kernel's page cache keeps what was read, too."""

DEADLINE_SECONDS = 30.0
"""How long a request waits for a far end that says nothing, where the store's address doesn't say."""


class MountSpec(NamedTuple):
    """What to mount, where, and how.

    At most one of `root` (a closure root or any other castore directory) and `closure` (a store path, shown with all it refers to)
    is given; without either the whole store is shown, whose root can be listed where `listing` is true. `store` is an address, or a
    store that answers at once and stays the caller's. `over` mounts on a directory that isn't empty, or on which something is
    mounted already. `status_file` is kept up to date with the counters, as JSON.
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
    try:
        with _stop_on_signals():
            if spec.dies_with_parent:
                _die_with_parent()
            counters = Counters()
            source, deadline, close = _open_source(spec.store, counters)
            try:
                _serve(spec, _open_tree(spec, source), source, counters, deadline, ready)
            finally:
                close()
    except _Stop:
        pass


def _serve(
    spec: MountSpec, tree: Tree, source: Source, counters: Counters, deadline: float, ready: Callable[[], object] | None
) -> None:
    device = open_device()
    status = _StatusFile(spec.status_file, spec.destination)
    session = FuseSession(
        device,
        tree,
        source,
        counters,
        uid=spec.uid,
        gid=spec.gid,
        listing=spec.listing,
        deadline=deadline,
        changed=(lambda: status.write(session.stats())) if spec.status_file else None,
    )
    try:
        attach(device, spec.destination, uid=os.geteuid(), gid=os.getegid(), allow_other=spec.allow_other)
        try:
            session.greet()
            set_read_ahead(spec.destination)
            status.write(session.stats())
            # What was made so far stays; what comes is made without cycles, but by the ten thousand, so look for them seldom.
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)
            if ready is not None:
                ready()
            session.serve()
        finally:
            detach(spec.destination)
    finally:
        os.close(device)
        session.close()
        status.write(session.stats(), last=True)


def _open_source(store: str | Store, counters: Counters) -> tuple[Source, float, Callable[[], None]]:
    """(source, deadline in seconds, what closes it)."""
    if not isinstance(store, str):
        return Source(store), DEADLINE_SECONDS, lambda: None
    from tvix.store.addresses import open_store

    if not store.startswith(("grpc+", "cache:")):
        opened = open_store(store)
        return Source(opened), DEADLINE_SECONDS, opened.close
    from tvix.castore.addresses import parse_address
    from tvix.mount.counters import counted
    from tvix.store.near_far import near_far

    address = parse_address(store)
    near_url, far_url = f"memory:?max={NEAR_BYTES}", store
    if address.scheme == "cache":
        near_url, far_url = address.parameter("near"), address.parameter("far")
    far_address = parse_address(far_url)
    deadline = far_address.seconds("deadline", DEADLINE_SECONDS) if far_address.scheme != "cache" else DEADLINE_SECONDS
    near, far = open_store(near_url), open_store(far_url)
    whole = near_far(near, counted(far, counters), far_url)
    return Source(whole, near), deadline, whole.close


def _open_tree(spec: MountSpec, source: Source) -> Tree:
    if spec.root is not None:
        # A far root comes with all that is below it: the first look at it would ask for the same.
        directory = source.near_directory(spec.root) or source.fetch_directories(spec.root)[spec.root]
    elif spec.closure is not None:
        directory = source.closure_of(spec.closure)
    else:
        return Tree(None)
    tree = Tree(directory.digest)
    tree.adopt(ROOT, directory)
    return tree


class _StatusFile:
    """The counters as a file that is replaced as a whole; nothing where `path` is None."""

    def __init__(self, path: str | None, destination: str) -> None:
        self._path = path
        self._destination = destination

    def write(self, counters: bytes, last: bool = False) -> None:
        """Replace the file. A disk that fails once the mount is up is no reason to end it."""
        if self._path is None:
            return
        import json

        state = {"pid": os.getpid(), "destination": self._destination, "state": "ended" if last else "mounted"}
        temporary = f"{self._path}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as stream:
                stream.write(json.dumps({**state, **json.loads(counters)}).encode() + b"\n")
            os.replace(temporary, self._path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)


class _Stop(BaseException):
    """A signal asked for the end. Not an `Exception`, so that nothing on the way takes it for a failed request."""


class _stop_on_signals:  # noqa: N801 - reads as a statement
    """SIGTERM, SIGINT and SIGHUP raise `_Stop` inside."""

    _SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._stop) for number in self._SIGNALS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._SIGNALS)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        for number in self._SIGNALS:  # once is enough: a second one must not interrupt the unmounting
            signal.signal(number, signal.SIG_IGN)
        raise _Stop


def _die_with_parent() -> None:
    from appliance.boot.syscalls import die_with_parent

    parent = os.getppid()
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        raise _Stop
