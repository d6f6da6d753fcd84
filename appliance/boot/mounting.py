"""The mount process: forked before anything else, it imports its client while the network comes up.

A byte down one pipe starts it. Up the other pipe comes one message: `R`, the store is mounted; or `E` and, separated by NUL, the
identifier, message, hint and exit code of what went wrong. A pipe that ends without a message is a process that died.
"""

from __future__ import annotations

import os
import time

from appliance.boot import console, process, syscalls
from initrd import layout
from tvix.errors import EX_TEMPFAIL, EX_UNAVAILABLE, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from appliance.boot.contract import Contract
    from appliance.boot.process import Reaper
    from appliance.roles.mount import MountSpec
else:
    import _signal

MOUNT_POINT = "/nix/store"
STATUS_FILE = "/run/tvix/mount.json"
STATISTICS = "user.tvix.stats"
"""The extended attribute of the mount point that has the counters, as JSON."""
CREDENTIALS = f"/{layout.CREDENTIALS}"
_LONGEST = 600.0  # far beyond any deadline: the mount process has its own, this is for one that hangs


class MountFailed(TvixError):
    """The mount process says why it could not mount. Its own identifier, hint and exit code are passed on."""

    identifier = "boot.mount-failed"
    message = "{reason}"
    exit_code = EX_UNAVAILABLE

    def __init__(self, reason: str, identifier: str = "", hint: str = "", exit_code: int = EX_UNAVAILABLE) -> None:
        super().__init__(reason=reason)
        self.identifier = identifier or type(self).identifier  # type: ignore[misc]
        self.hint = hint or None  # type: ignore[misc]
        self.exit_code = exit_code  # type: ignore[misc]


class MountHangs(TvixError):
    """The mount process doesn't answer."""

    identifier = "boot.mount-hangs"
    message = "the mount process has said nothing for {seconds:g} s"
    exit_code = EX_TEMPFAIL


class MountProcess:
    """One attempt to mount. A retry is a new one."""

    def __init__(self, contract: Contract, reaper: Reaper, *, outlives_init: bool) -> None:
        """Fork. `outlives_init` is for `init=`: nothing ends such a process but the end of its mount."""
        self._reaper = reaper
        start_read, self._start = os.pipe2(os.O_CLOEXEC)
        self._answer, answer_write = os.pipe2(os.O_CLOEXEC)

        def body() -> None:
            os.close(self._start)
            os.close(self._answer)
            if outlives_init:
                syscalls.mark_as_storage()
            _serve(contract, start_read, answer_write, dies_with_parent=not outlives_init)

        self.pid = process.fork(body)
        reaper.watch(self.pid)
        os.close(start_read)
        os.close(answer_write)

    def begin(self) -> None:
        """The network is there: connect and mount. Returns when the store is mounted. Raises `MountFailed`, `MountHangs`."""
        try:  # noqa: SIM105 contextlib is one import more
            os.write(self._start, b"g")
        except BrokenPipeError:  # it has failed already, and its message says why
            pass
        os.close(self._start)
        message = b""
        deadline = time.monotonic() + _LONGEST
        while True:
            if not self._reaper.wait_readable(self._answer, deadline):
                if time.monotonic() >= deadline:
                    raise MountHangs(seconds=_LONGEST)
                continue
            piece = os.read(self._answer, 65536)
            message += piece
            if message == b"R":
                os.close(self._answer)
                return
            if not piece:
                os.close(self._answer)
                raise self._failure(message)

    def ended(self) -> int | None:
        """How it ended, if it did."""
        return self._reaper.status(self.pid)

    def stop(self) -> None:
        """Unmount, and end the process."""
        for signal in (_signal.SIGTERM, _signal.SIGKILL):
            deadline = time.monotonic() + 2
            if self.ended() is None:
                os.kill(self.pid, signal)
            while self.ended() is None and time.monotonic() < deadline:
                self._reaper.wait_readable(None, deadline)
        try:  # noqa: SIM105
            syscalls.unmount(MOUNT_POINT, syscalls.MNT_DETACH)
        except OSError:  # it has unmounted itself, as it should
            pass

    def _failure(self, message: bytes) -> TvixError:
        if message.startswith(b"E"):
            identifier, reason, hint, code = message[1:].decode("utf-8", "replace").split("\0")
            return MountFailed(reason, identifier, hint, int(code))
        return MountFailed(f"the mount process ended without a word (exit status {self._reaper.wait(self.pid)})")


def _serve(contract: Contract, start: int, answer: int, *, dies_with_parent: bool) -> None:
    """The child. Everything heavy is imported here, before the byte that starts it has come."""
    mounted = False

    def ready() -> None:
        nonlocal mounted
        mounted = True
        _tell(answer, b"R")

    import gc

    gc.disable()  # of what imports make nothing is garbage, and looking for it is a twentieth of them
    try:
        from appliance.roles.mount import serve_mount

        spec = _spec(contract, dies_with_parent=dies_with_parent)
        _import_client(contract.store)
        if contract.trusted_keys:
            from tvix.nix_compat.ed25519 import verifier

            verifier()  # loads a library, for 18 ms, beside the network's coming up
        if os.read(start, 1):  # nothing comes where PID 1 has given up
            gc.enable()
            serve_mount(spec, ready=ready)
    except Exception as error:
        if mounted:
            raise  # PID 1 sees the process end
        _tell(answer, _encode(error))


def _spec(contract: Contract, *, dies_with_parent: bool) -> MountSpec:
    """Raises `TvixError` for what PID 1's light check of the command line let through."""
    from appliance.roles.mount import MountSpec
    from appliance.roles.mount_source import memory_share
    from tvix.castore.default_credentials import with_credentials
    from tvix.castore.digests import parse_digest
    from tvix.nix_compat.signatures import VerifyingKey
    from tvix.nix_compat.store_path import parse_store_path

    return MountSpec(
        near=f"memory:?max={memory_share()}",
        profile="boot",
        store=with_credentials(contract.store, CREDENTIALS) if os.path.isdir(CREDENTIALS) else contract.store,
        destination=MOUNT_POINT,
        root=parse_digest(contract.root) if contract.root else None,
        closure=parse_store_path(contract.closure) if contract.closure else None,
        trusted_keys=tuple(VerifyingKey.parse(key) for key in contract.trusted_keys),
        allow_other=True,
        dies_with_parent=dies_with_parent,
        status_file=STATUS_FILE,
        engine="fuse",
        prefetch=contract.prefetch,
    )


def _import_client(store: str) -> None:
    """The client of a store of that scheme, so that the import runs beside the network's coming up; gRPC only for who speaks it."""
    os.makedirs(os.path.dirname(STATUS_FILE), exist_ok=True)
    if store.startswith("tvix+"):
        from tvix.castore import framed_channel as _framed  # noqa: F401
        from tvix.castore.transfer import framed_link as _framed_link  # noqa: F401
    elif store.startswith("grpc+"):
        from tvix.castore.grpc_import import import_grpc

        import_grpc(light=True)
        from tvix.castore.transfer import grpc_link as _grpc_link  # noqa: F401
    else:
        return
    from appliance.roles import mount_polled as _polled  # noqa: F401
    from tvix.castore.blobs import memory as _memory  # noqa: F401
    from tvix.castore.blobs import remote as _blobs  # noqa: F401
    from tvix.castore.directories import remote as _directories  # noqa: F401
    from tvix.store.path_infos import memory as _infos  # noqa: F401
    from tvix.store.path_infos import remote as _path_infos  # noqa: F401


def _encode(error: Exception) -> bytes:
    if isinstance(error, TvixError):
        fields = (error.identifier, str(error), error.hint or "", str(error.exit_code))
    else:
        fields = (MountFailed.identifier, console.describe(error), "", str(MountFailed.exit_code))
    return b"E" + "\0".join(field.replace("\0", "") for field in fields).encode("utf-8", "replace")


def _tell(descriptor: int, message: bytes) -> None:
    os.write(descriptor, message)
    os.close(descriptor)
