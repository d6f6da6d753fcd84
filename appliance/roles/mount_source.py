"""What a mount reads from: a store that is here, or one that is elsewhere with something near in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tvix.errors import TvixError
from tvix.mount.local_source import LocalSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.roles.mount import MountSpec
    from tvix.castore.addresses import Address
    from tvix.mount.counters import Counters
    from tvix.mount.source import Source
    from tvix.store.store import Store

NEAR_BYTES = 32 << 20
"""How much of a remote store's contents is kept in memory where nothing else is said. The page cache keeps what was read, too."""
_NEAR_SHARE = 8
SYNC_SECONDS = 10
"""How often what was put into a near pack store is synced, where its address doesn't say."""
DEADLINE_SECONDS = 30.0
"""How long a request waits for a far end that says nothing, where the store's address doesn't say."""

_OFFER_SECONDS = 1.0
"""How long a server that is spoken to by gRPC may take to say that it can do without, and to show it."""


class Opened(NamedTuple):
    """A source, and what closes the stores behind it."""

    source: Source
    close: Callable[[], None]


class Ends(NamedTuple):
    """The two ends of a mounted store: near is open, far an address; `near_name` is the address of near."""

    near: Store
    near_name: str
    far: Address


def open_source(spec: MountSpec, counters: Counters) -> Opened:
    """Raises what a store that can't be opened raises."""
    if not isinstance(spec.store, str):
        return Opened(LocalSource(spec.store), lambda: None)
    from tvix.castore.addresses import SERVERS, parse_address
    from tvix.store.addresses import open_address, open_store

    scheme = spec.store.partition(":")[0]
    if scheme not in SERVERS and scheme != "cache":
        opened = open_store(spec.store)
        return Opened(LocalSource(opened), opened.close)
    address = parse_address(spec.store)
    if scheme == "cache":
        from tvix.castore.addresses import near_address

        near, far = near_address(address), parse_address(address.parameter("far"))
        return _open_ends(spec, Ends(open_address(_tended(near)), address.parameter("near"), far), counters)
    return _open_ends(spec, Ends(*_open_near(spec), address), counters)


def _open_ends(spec: MountSpec, ends: Ends, counters: Counters) -> Opened:
    from tvix.castore.addresses import SERVERS

    if ends.far.scheme in SERVERS:
        from appliance.roles.mount_polled import open_polled
        from tvix.castore.framed_offer import framed_address

        # Without gRPC a mount is there sooner, and takes less.
        ends = ends._replace(far=framed_address(ends.far, min(deadline_of(ends.far), _OFFER_SECONDS)))
        opened = open_polled(spec, ends, counters)
        if opened is not None:
            return opened
    return _open_threaded(ends, counters)


def _open_threaded(ends: Ends, counters: Counters) -> Opened:
    """For servers that speak the published protocols alone, and far ends that aren't servers."""
    from tvix.mount.counters import counted
    from tvix.mount.threaded_source import ThreadedSource
    from tvix.store.addresses import open_store
    from tvix.store.near_far import near_far

    silence_grpc(ends.far)
    whole = near_far(ends.near, counted(open_store(ends.far.url), counters), ends.far.url)
    return Opened(ThreadedSource(whole, ends.near, deadline_of(ends.far), lambda: counters.heard), whole.close)


def deadline_of(far: Address) -> float:
    """How many seconds a request waits for a far end that says nothing."""
    return far.seconds("deadline", DEADLINE_SECONDS) if "deadline" in dict(far.parameters) else DEADLINE_SECONDS


def memory_share() -> int:
    """An eighth of the machine's memory, in bytes: what a machine without disks keeps near."""
    try:
        with open("/proc/meminfo", "rb") as stream:
            for line in stream:
                if line.startswith(b"MemTotal:"):
                    return max(NEAR_BYTES // 4, int(line.split()[1]) * 1024 // _NEAR_SHARE)
    except (OSError, ValueError, IndexError):
        pass
    return NEAR_BYTES


def _open_near(spec: MountSpec) -> tuple[Store, str]:
    """The near end that is asked for, or one in memory where that can't be had: a cache is no reason to fail."""
    from tvix.castore.addresses import parse_address
    from tvix.store.addresses import open_address

    if spec.near is not None:
        near = _tended(parse_address(spec.near))
        if spec.near_max:
            near = near._replace(parameters=(*near.parameters, ("max", spec.near_max)))
        try:
            return open_address(near), spec.near
        except (TvixError, OSError) as error:
            if spec.near_is_required:
                raise
            if spec.warn is not None:
                spec.warn(f"what is fetched is kept in memory alone: {error}")
    in_memory = f"memory:?max={NEAR_BYTES}"
    return open_address(parse_address(in_memory)), in_memory


def _tended(near: Address) -> Address:
    """The address of a near end that syncs what it is given by itself, in no loop's time."""
    if near.scheme != "pack" or near.parameter("sync"):
        return near
    return near._replace(parameters=(*near.parameters, ("sync", str(SYNC_SECONDS))))


def silence_grpc(far: Address) -> None:
    """gRPC has a log of its own, and nothing in it is for people."""
    if far.scheme.startswith("grpc+"):
        from appliance import grpc_log

        grpc_log.silence()
