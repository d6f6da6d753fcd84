"""The mount process: forked before anything else, it imports what it needs while PID 1 does the same and brings the network up.

Down one pipe come the kernel's command line and a NUL, as soon as PID 1 has read it and found nothing wrong; then a byte that
starts the process, when the network is there. Up the other pipe comes one message: `R`, the store is mounted; or `E` and, separated
by NUL, the identifier, message, hint and exit code of what went wrong. A pipe that ends without a message is a process that died.
"""

from __future__ import annotations

import os
import time

from appliance.boot import console, contract, process, syscalls
from initrd import layout
from tvix.errors import EX_TEMPFAIL, EX_UNAVAILABLE, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from appliance.boot import early
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
_CLIENT = (
    "appliance.roles.mount_polled",
    "importlib.util",
    "tvix.castore.blobs.memory",
    "tvix.castore.blobs.remote",
    "tvix.castore.directories.memory",
    "tvix.castore.directories.remote",
    "tvix.castore.framed_channel",
    "tvix.castore.transfer.framed_link",
    "tvix.castore.transfer.hot_set_memory",
    "tvix.castore.transfer.resolving",
    "tvix.store.closure_roots.memory",
    "tvix.store.closure_roots.remote",
    "tvix.store.path_infos.memory",
    "tvix.store.path_infos.remote",
)
"""What a mount of a server's store imports late, in other places of the program."""
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

    def __init__(self, forked: early.Forked, reaper: Reaper, line: str) -> None:
        """Take over what `early` has forked, and say what it is to mount: `line` is the kernel's command line."""
        self._reaper = reaper
        self.pid, self._start, self._answer = forked.pid, forked.start, forked.answer
        reaper.watch(self.pid)
        self._tell(line.encode("utf-8", "replace") + b"\0")

    def begin(self) -> None:
        """The network is there: connect and mount. Returns when the store is mounted. Raises `MountFailed`, `MountHangs`."""
        self._tell(b"g")
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

    def _tell(self, message: bytes) -> None:
        try:  # noqa: SIM105 contextlib is one import more
            os.write(self._start, message)
        except BrokenPipeError:  # it has failed already, and its message says why
            pass

    def _failure(self, message: bytes) -> TvixError:
        if message.startswith(b"E"):
            identifier, reason, hint, code = message[1:].decode("utf-8", "replace").split("\0")
            return MountFailed(reason, identifier, hint, int(code))
        return MountFailed(f"the mount process ended without a word (exit status {self._reaper.wait(self.pid)})")


def serve(start: int, answer: int) -> None:
    """The child. Everything heavy is imported here, before the byte that starts it has come."""
    mounted = False

    def ready() -> None:
        nonlocal mounted
        mounted = True
        _tell(answer, b"R")

    import gc

    gc.disable()  # of what imports make nothing is garbage, and looking for it is a twentieth of them
    try:
        process.restore_signals()
        _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)  # a server that hangs up is an error of the write
        from appliance.roles.mount import serve_mount

        line = _read_line(start)
        if line is None:
            return
        asked = contract.parse(line)
        spec = _spec(asked)
        _import_client(asked.store)
        if asked.trusted_keys:
            from tvix.nix_compat.ed25519 import verifier

            verifier()  # loads a library, for 18 ms, beside the network's coming up
        if not spec.dies_with_parent:
            syscalls.mark_as_storage()
        if os.read(start, 1):  # nothing comes where PID 1 has given up
            gc.enable()
            serve_mount(spec, ready=ready)
    except Exception as error:
        if mounted:
            raise  # PID 1 sees the process end
        _tell(answer, _encode(error))


def _read_line(start: int) -> str | None:
    """The command line, None where PID 1 has given up before it sent one."""
    line = b""
    while not line.endswith(b"\0"):
        byte = os.read(start, 1)
        if not byte:
            return None
        line += byte
    return line[:-1].decode("utf-8", "replace")


def _spec(asked: Contract) -> MountSpec:
    """Raises `TvixError` for what PID 1's light check of the command line let through.

    Where `init=` takes over, nothing ends the process but the end of its mount.
    """
    from appliance.roles.mount import MountSpec
    from appliance.roles.mount_source import memory_share
    from tvix.castore.default_credentials import with_credentials
    from tvix.castore.digests import parse_digest
    from tvix.nix_compat.signatures import VerifyingKey
    from tvix.nix_compat.store_path import parse_store_path

    return MountSpec(
        near=f"memory:?max={memory_share()}",
        profile="boot",
        store=with_credentials(asked.store, CREDENTIALS) if os.path.isdir(CREDENTIALS) else asked.store,
        destination=MOUNT_POINT,
        root=parse_digest(asked.root) if asked.root else None,
        closure=parse_store_path(asked.closure) if asked.closure else None,
        trusted_keys=tuple(VerifyingKey.parse(key) for key in asked.trusted_keys),
        allow_other=True,
        dies_with_parent=asked.action != "init",
        status_file=STATUS_FILE,
        engine="fuse",
        prefetch=asked.prefetch,
    )


def _import_client(store: str) -> None:
    """The client of a store of that scheme, so that the import runs beside the network's coming up.

    gRPC only where nothing else can be spoken: whether it will be gRPC after all, the server says.
    """
    from tvix.castore.addresses import SERVERS, parse_address
    from tvix.castore.framed_offer import can_speak

    os.makedirs(os.path.dirname(STATUS_FILE), exist_ok=True)
    address = parse_address(store)
    if address.scheme not in SERVERS:
        return
    if not can_speak(address):
        from tvix.castore.grpc_import import import_grpc

        import_grpc(light=True)
        __import__("tvix.castore.transfer.grpc_link")
    for name in _CLIENT:
        __import__(name)
    try:  # noqa: SIM105
        __import__("zstandard")
    except ImportError:  # this initrd has none, and its server sends plain bytes
        pass


def _encode(error: Exception) -> bytes:
    if isinstance(error, TvixError):
        fields = (error.identifier, str(error), error.hint or "", str(error.exit_code))
    else:
        fields = (MountFailed.identifier, console.describe(error), "", str(MountFailed.exit_code))
    return b"E" + "\0".join(field.replace("\0", "") for field in fields).encode("utf-8", "replace")


def _tell(descriptor: int, message: bytes) -> None:
    os.write(descriptor, message)
    os.close(descriptor)
