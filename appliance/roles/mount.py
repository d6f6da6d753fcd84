"""The mount role: a process that shows a store at a directory until it is told to stop."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import suppress
from threading import Event, Thread, get_ident
from typing import TYPE_CHECKING, NamedTuple

from tvix.json_text import to_json
from tvix.mount.attach import MountNotPermitted, attach, check_mount_point, detach, open_device, set_read_ahead
from tvix.mount.counters import Counters
from tvix.mount.engines.fuse import FuseSession, KernelTooOld
from tvix.mount.node_table import ROOT
from tvix.mount.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tvix.castore.digests import Digest
    from tvix.mount.engines.pyfuse3 import Pyfuse3Session
    from tvix.mount.source import Source
    from tvix.nix_compat.signatures import VerifyingKey
    from tvix.nix_compat.store_path import StorePath
    from tvix.store.store import Store

_M_ARENA_MAX = -8  # of mallopt(3)
_LAST_FETCHES_SECONDS = 2.0


class MountSpec(NamedTuple):
    """What to mount, where, and how.

    At most one of `root` (a closure root or any other castore directory) and `closure` (a store path, shown with all it refers to)
    is given. A closure is what one of `trusted_keys` has signed or, without keys, what the store says. Without both the whole store
    is shown, whose root can be listed where `listing` is true. `store` is an address, or a store that answers at once and stays the
    caller's. `over` mounts on a directory that isn't empty, or on which something is
    mounted already. `status_file` is kept up to date with the counters, as JSON. `engine` is one of those of
    `tvix.mount.engines.choice`, or `auto`.

    The rest is about stores that are elsewhere. `near` is the address of what is kept of them here, by default a little memory,
    which also stands in where that can't be opened, unless `near_is_required`; `near_max` bounds it, as a size in an address.
    `prefetch` is one of `tvix.mount.prefetch.MODES`. First accesses are recorded, and the last ones fetched, under the name
    `profile`. `expected` is what of a whole store is about to be read. `warn` is told in a line what isn't as it should be.
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
    engine: str = "auto"
    trusted_keys: tuple[VerifyingKey, ...] = ()
    near: str | None = None
    near_max: str = ""
    near_is_required: bool = False
    prefetch: str = "auto"
    profile: str = ""
    expected: StorePath | None = None
    warn: Callable[[str], object] | None = None


def serve_mount(spec: MountSpec, ready: Callable[[], object] | None = None) -> None:
    """Mount, call `ready`, and serve until SIGTERM, SIGINT or SIGHUP, until the parent process ends, or until it is unmounted.

    To be called in the main thread of a process that does nothing else. Raises what a store that can't be opened raises, what
    `tvix.mount.attach` and `tvix.mount.engines.choice` raise, and `DirectoryNotFound` or `PathNotFound` for a root or a closure
    that the store doesn't have.
    """
    spec = spec._replace(destination=check_mount_point(spec.destination, spec.over))
    engine = spec.engine
    if engine != "fuse":
        from tvix.mount.engines import choice

        engine = choice.choose(engine)
    _share_one_heap()
    with _Signals() as signals:
        if spec.dies_with_parent:
            _die_with_parent()
        try:
            _serve_with(engine, spec, signals, ready)
        except (MountNotPermitted, KernelTooOld) as refusal:  # nothing was mounted
            if spec.engine != "auto" or engine != "fuse":
                raise
            signals.leaving, signals.stop = False, None
            _serve_with(choice.instead(refusal), spec, signals, ready)


def _serve_with(engine: str, spec: MountSpec, signals: _Signals, ready: Callable[[], object] | None) -> None:
    counters = Counters()
    from appliance.roles.mount_source import open_source

    source, close = open_source(spec, counters)
    session: FuseSession | Pyfuse3Session
    try:
        tree = _open_tree(spec, source)
        source.watch(tree)
        owner = {"uid": spec.uid, "gid": spec.gid}
        if engine == "pyfuse3":
            from tvix.mount.engines.pyfuse3 import Pyfuse3Session

            session = Pyfuse3Session(tree, source, counters, **owner, listing=spec.listing)
            _serve_portably(spec, session, signals, ready)
        else:
            device = open_device()
            session = FuseSession(device, tree, source, counters, **owner, listing=spec.listing)
            try:
                _serve(spec, device, session, signals, ready)
            finally:
                os.close(device)
    finally:
        signals.leaving = True
        source.close()  # which a session that never served didn't
        close()
        source.join(_LAST_FETCHES_SECONDS)


def _share_one_heap() -> None:
    """glibc gives each thread a heap of its own, where what was freed helps nobody else: with eight that fetch, memory doubles."""
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have one heap anyway
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def _serve(spec: MountSpec, device: int, session: FuseSession, signals: _Signals, ready: Callable[[], object] | None) -> None:
    status = _StatusFile(spec.status_file, spec.destination)
    if spec.status_file:
        session.changed = lambda: status.write(session.stats())
    attach(device, spec.destination, uid=os.geteuid(), gid=os.getegid(), allow_other=spec.allow_other)
    try:
        session.greet()
        set_read_ahead(spec.destination, session.source.read_ahead_kib)
        status.write(session.stats())
        # What was made so far stays; what comes is made without cycles, but by the ten thousand, so look for them seldom.
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        if ready is not None:
            ready()
        signals.stop = session.stop
        session.serve()
    finally:
        signals.leaving = True
        detach(spec.destination)
        session.close()
        status.write(session.stats(), last=True)


def _serve_portably(spec: MountSpec, session: Pyfuse3Session, signals: _Signals, ready: Callable[[], object] | None) -> None:
    status = _StatusFile(spec.status_file, spec.destination)
    if spec.status_file:
        session.changed = lambda: status.write(session.stats())
    session.mount(spec.destination, allow_other=spec.allow_other)
    try:
        status.write(session.stats())
        if ready is not None:
            ready()
        signals.stop = session.stop
        session.serve()
    finally:
        signals.leaving = True
        session.unmount()
        session.close()
        status.write(session.stats(), last=True)


def _open_tree(spec: MountSpec, source: Source) -> Tree:
    if spec.root is not None:
        # A far root comes with all that is below it: the first look at it would ask for the same.
        directory = source.root(spec.root)
    elif spec.closure is not None and spec.trusted_keys:
        directory = source.root(source.trusted_root(spec.closure, spec.trusted_keys))
    elif spec.closure is not None:
        directory = source.closure_of(spec.closure)
    else:
        if spec.expected is not None:
            source.expect(spec.expected)
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
        state = {"pid": os.getpid(), "destination": self._destination, "state": "ended" if last else "mounted"}
        temporary = f"{self._path}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as stream:
                stream.write(to_json(state)[:-1].encode() + b"," + counters[1:] + b"\n")
            os.replace(temporary, self._path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)


class _Stop(BaseException):
    """A signal asked for the end. Not an `Exception`, so that nothing on the way takes it for a failed request."""


class _Signals:
    """SIGTERM, SIGINT and SIGHUP end what is inside: by `stop` once that is set, before that by an exception.

    A signal that comes just before a blocking call would be noticed after it, which may be never. So a thread that hears of every
    signal sends it again until the end has come.
    """

    _NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self) -> None:
        self.stop: Callable[[], None] | None = None
        self.leaving = False
        """The end has begun, and is not to be disturbed."""
        self._ended = Event()

    def __enter__(self) -> _Signals:
        self._heard, self._tell = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._tell, False)
        self._before = {number: signal.signal(number, self._handle) for number in self._NUMBERS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._NUMBERS)
        signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        self._thread = Thread(target=self._insist, args=(get_ident(),), name="signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.leaving = True
        self._ended.set()
        signal.set_wakeup_fd(-1)
        os.write(self._tell, b"\0")
        self._thread.join()
        os.close(self._heard)
        os.close(self._tell)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        return kind is _Stop

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.leaving:
            return
        if self.stop is None:
            raise _Stop
        self.stop()

    def _insist(self, main: int) -> None:
        while not self._ended.is_set():
            number = os.read(self._heard, 1)[0]
            while number in self._NUMBERS and not self._ended.wait(0.1) and not self.leaving:
                signal.pthread_kill(main, number)


def _die_with_parent() -> None:
    from appliance.boot.syscalls import die_with_parent

    parent = os.getppid()
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        raise _Stop
