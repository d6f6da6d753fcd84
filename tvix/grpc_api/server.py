"""The store server: all services under both generations of names, on any number of addresses.

Calls are raw bytes in and out; messages are coded by hand where the services are. Each kind of call has threads of its own, so
callers that read or send slowly hold up their own kind at worst, and a stream that stands still is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from tvix.castore.grpc_import import Foreign
from tvix.castore.grpc_watch import Watch, Watchdog
from tvix.events import silent
from tvix.grpc_api.blob_service import BlobMethods
from tvix.grpc_api.directory_service import DirectoryMethods
from tvix.grpc_api.group_sync import GroupSync
from tvix.grpc_api.path_info_service import PathInfoMethods
from tvix.grpc_api.policy import Access, Insecure, Listen, access_at, parse_listen
from tvix.grpc_api.sockets import bind
from tvix.grpc_api.standard import StandardServices
from tvix.grpc_api.status import Answers, CallerGone
from tvix.store.path_infos.checking import CheckingPathInfoService
from tvix.store.store import Store

if TYPE_CHECKING:
    from tvix.events import Emit

GENERATIONS = ("tvix", "snix")
SERVICES = tuple(
    f"{generation}.{name}"
    for generation in GENERATIONS
    for name in ("castore.v1.BlobService", "castore.v1.DirectoryService", "store.v1.PathInfoService")
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What callers may use up. Times in seconds, sizes in bytes."""

    message_bytes: int = 16 << 20
    """The largest message that is taken; a directory is one message."""
    streams_per_connection: int = 128
    calls: int = 2048
    """At one time, on all connections; more are refused with RESOURCE_EXHAUSTED."""
    call_threads: int = 8
    stream_threads: int = 32
    """For each kind of stream: blobs out, blobs in, directories."""
    stall: float = 60.0
    """How long a stream may wait for its caller to read or send more."""


class Server:
    """Made by `make_server`; serves from `start` until `stop`."""

    def __init__(
        self, store: Store, servers: Sequence[Any], standard: Sequence[StandardServices], pools: Sequence[ThreadPoolExecutor]
    ) -> None:
        self._store = store
        self._servers = servers
        self._standard = standard
        self._pools = pools
        self.addresses: tuple[Listen, ...] = ()

    def start(self) -> None:
        """Answer calls from now on."""
        for server in self._servers:
            server.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Until the server has stopped, at most `timeout` seconds; says whether it has."""
        return not any(server.wait_for_termination(timeout) for server in self._servers)

    def stop(self, grace: float = 10.0) -> None:
        """Take no new calls, give those under way `grace` seconds, end them, and make the store durable. The store stays open."""
        for standard in self._standard:
            standard.stop()
        stopped = [server.stop(grace) for server in self._servers]
        for event in stopped:
            event.wait()
        for standard in self._standard:
            standard.close()
        for pool in self._pools:
            pool.shutdown(wait=True)
        self._store.sync()


def make_server(
    store: Store,
    addresses: Iterable[str | Listen],
    *,
    insecure: Insecure = None,
    read_only: bool = False,
    socket_mode: int = 0o600,
    limits: Limits = Limits(),
    emit: Emit = silent,
) -> Server:
    """A server of `store`, bound but not started.

    What callers may do at an address is decided in `tvix.grpc_api.policy`; `read_only` takes writes away everywhere. Raises
    `InvalidListenAddress`, `InsecureAddress`, `CannotListen`.
    """
    wanted: dict[Access, list[Listen]] = {}
    for address in addresses:
        listen = parse_listen(address) if isinstance(address, str) else address
        access = access_at(listen, insecure)
        wanted.setdefault("read" if read_only else access, []).append(listen)
    assembly = _Assembly(store, limits, emit)
    server = Server(store, assembly.servers, assembly.standard, assembly.pools)
    try:
        for access, listens in wanted.items():
            inner = assembly.server(writable=access == "write")
            server.addresses += tuple(bind(inner, listen, socket_mode) for listen in listens)
    except BaseException:
        server.stop(0)
        raise
    return server


class _Assembly:
    """What the servers of one store share: threads, the sync that writers share, the watchdog of streams."""

    def __init__(self, store: Store, limits: Limits, emit: Emit) -> None:
        self._store = store
        self._limits = limits
        self._answers = Answers(emit)
        self._watchdog = Watchdog(limits.stall)
        self._sync_blobs = GroupSync(store.blobs.sync)
        self._sync_directories = GroupSync(store.directories.sync)
        self._sync_path_infos = GroupSync(store.path_infos.sync)
        self._calls = ThreadPoolExecutor(limits.call_threads, "calls")
        self._blobs_out, self._blobs_in, self._directories = (
            ThreadPoolExecutor(limits.stream_threads, name) for name in ("blobs-out", "blobs-in", "directories")
        )
        self.pools = (self._calls, self._blobs_out, self._blobs_in, self._directories)
        self.servers: list[Any] = []
        self.standard: list[StandardServices] = []

    def server(self, *, writable: bool) -> Foreign:
        """One more gRPC server, for the addresses with these rights."""
        limits = self._limits
        options = [
            ("grpc.so_reuseport", 0),  # two servers on one port would answer by turns
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.max_concurrent_streams", limits.streams_per_connection),
            # A caller that vanished is noticed, and callers may ask as often whether we have.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ]
        server = grpc.server(self._calls, options=options, maximum_concurrent_rpcs=limits.calls)
        standard = StandardServices(SERVICES)
        server.add_generic_rpc_handlers((*self._handlers(writable), standard))
        self.servers.append(server)
        self.standard.append(standard)
        return server

    def _handlers(self, writable: bool) -> Iterator[Any]:
        store = self._store
        blobs = BlobMethods(store.blobs, self._sync_blobs, writable=writable)
        directories = DirectoryMethods(store.directories, self._sync_directories, writable=writable)
        checking = CheckingPathInfoService(store.path_infos, store.blobs, store.directories)
        path_infos = PathInfoMethods(checking, self._sync_path_infos, writable=writable)
        methods = {
            "castore.v1.BlobService": {
                "Stat": self._unary(blobs.stat),
                "Read": self._stream_out(blobs.read, self._blobs_out),
                "Put": self._stream_in(blobs.put, self._blobs_in),
            },
            "castore.v1.DirectoryService": {
                "Get": self._stream_out(directories.get, self._directories),
                "Put": self._stream_in(directories.put, self._blobs_in),
            },
            "store.v1.PathInfoService": {
                "Get": self._unary(path_infos.get),
                "Put": self._unary(path_infos.put),
                "CalculateNAR": self._unary(path_infos.calculate_nar),
                "List": self._stream_out(path_infos.list, self._directories),
            },
        }
        for generation in GENERATIONS:
            for service, handlers in methods.items():
                yield grpc.method_handlers_generic_handler(f"{generation}.{service}", handlers)

    def _unary(self, function: Callable[[bytes], bytes]) -> Foreign:
        return grpc.unary_unary_rpc_method_handler(self._answers.unary(function))

    def _stream_out(self, function: Callable[[bytes], Iterator[bytes]], pool: ThreadPoolExecutor) -> Foreign:
        answer = self._answers.stream(function)
        watchdog = self._watchdog

        def watched(request: bytes, context: Foreign) -> Iterator[bytes]:
            with watchdog.watch(context.cancel) as watch:
                for message in answer(request, context):
                    watch.begin()
                    yield message
                    watch.end()

        watched.experimental_thread_pool = pool  # type: ignore[attr-defined]
        return grpc.unary_stream_rpc_method_handler(watched)

    def _stream_in(self, function: Callable[[Iterator[bytes]], bytes], pool: ThreadPoolExecutor) -> Foreign:
        answer = self._answers.unary(function)
        watchdog = self._watchdog

        def watched(requests: Iterator[bytes], context: Foreign) -> bytes:
            with watchdog.watch(context.cancel) as watch:
                return answer(_watched_requests(requests, watch, context), context)

        watched.experimental_thread_pool = pool  # type: ignore[attr-defined]
        return grpc.stream_unary_rpc_method_handler(watched)


def _watched_requests(requests: Iterator[bytes], watch: Watch, context: Foreign) -> Iterator[bytes]:
    """What a caller sends. Raises `CallerGone` where it went away.

    gRPC may end the requests of a caller that went away as if they were complete, and say a moment later that it has gone. A blob
    or directory stored in that moment is a valid one that nobody asked for.
    """
    watch.begin()
    for request in requests:
        watch.end()
        yield request
        watch.begin()
    watch.end()
    if watch.expired or not context.is_active():
        raise CallerGone
