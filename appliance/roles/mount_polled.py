"""A mount's source whose far end is a server that speaks our own protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.roles.mount_source import Opened, deadline_of, silence_grpc
from tvix.castore.addresses import Castore
from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.remote_channel import open_channel
from tvix.castore.tls import TLS_SCHEMES, credentials_of
from tvix.castore.tls_errors import TlsError
from tvix.castore.transfer.connection import Connection, dialler
from tvix.castore.transfer.hot_set_remote import RemoteHotSetService
from tvix.castore.transfer.near_end import RECENT_BYTES
from tvix.castore.transfer.scheduler import Scheduler
from tvix.mount.counters import counted
from tvix.mount.polled_source import FarEnds, PolledSource
from tvix.mount.prefetch import Policy
from tvix.store.addresses import open_address
from tvix.store.near_far import near_far

if TYPE_CHECKING:
    from appliance.roles.mount import MountSpec
    from appliance.roles.mount_source import Ends
    from tvix.castore.addresses import Address
    from tvix.mount.counters import Counters

_FRAME_BYTES = 64 << 10
_RECENT_LEAST = 512 << 10
_RECENT_PART = 64
"""Where near is in memory, what came last is there twice, unpacked and as it came: no more of it than this part of near."""
_FIND_OUT_SECONDS = 1.0
_RECORD_SECONDS = 2.0  # the end of a run waits for it


def open_polled(spec: MountSpec, ends: Ends, counters: Counters) -> Opened | None:
    """None for a server of the published protocols alone.

    Raises `StoreUnavailable` where it must be asked and is away, and what is wrong with credentials.
    """
    far = ends.far
    if far.scheme in TLS_SCHEMES:
        credentials_of(far)  # what is wrong with ours is said before anything is mounted
    if far.scheme.startswith("grpc+") and not _offers(spec, ends):
        return None
    deadline = deadline_of(far)
    castore = Castore(ends.near.blobs, ends.near.directories)
    pinned = spec.root is not None or bool(spec.trusted_keys)
    scheduler = Scheduler(
        castore, far.url, trusts_lists=far.trusts_lists and not pinned, stored=_can_decompress(), max_frame=_FRAME_BYTES
    )
    if isinstance(ends.near.blobs, MemoryBlobService) and ends.near.blobs.max_bytes is not None:
        scheduler.near.recent_max = min(RECENT_BYTES, max(ends.near.blobs.max_bytes // _RECENT_PART, _RECENT_LEAST))
    connection = Connection(scheduler, dialler(far), deadline)
    whole = near_far(ends.near, counted(open_address(far), counters), far.url)
    recorder = open_channel(_with_deadline(far, min(deadline, _RECORD_SECONDS)))
    kept = [*([ends.near.hot_sets] if ends.near.hot_sets is not None else []), RemoteHotSetService(recorder)]
    behind = FarEnds(whole, ends.near, counters, spec.profile, kept)
    source = PolledSource(behind, scheduler, connection, Policy(spec.prefetch, scheduler, scheduler.near.directory), deadline)
    if spec.root is not None:
        source.begin(spec.root)

    def close() -> None:
        recorder.close()
        whole.close()

    return Opened(source, close)


def _offers(spec: MountSpec, ends: Ends) -> bool:
    """Whether a gRPC server speaks our protocol as well. Where the mount can do without an answer, it isn't waited for long."""
    silence_grpc(ends.far)
    far = ends.far
    needs_it = spec.closure is not None or (spec.root is not None and ends.near.directories.missing([spec.root]))
    if not needs_it:
        far = _with_deadline(far, min(deadline_of(far), _FIND_OUT_SECONDS))
    channel = open_channel(far)
    try:
        return channel.offers("closure")
    except StoreUnavailable as error:
        if needs_it or isinstance(error, TlsError):  # which doesn't go away by itself
            raise
        return False
    finally:
        channel.close()


def _with_deadline(address: Address, seconds: float) -> Address:
    others = tuple(pair for pair in address.parameters if pair[0] != "deadline")
    return address._replace(parameters=(*others, ("deadline", str(seconds))))


def _can_decompress() -> bool:
    from importlib.util import find_spec

    return find_spec("zstandard") is not None
