"""The store server: one table of methods, over gRPC and over the framed protocol, on any number of addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING

from tvix.events import silent
from tvix.grpc_api.blob_service import BlobMethods
from tvix.grpc_api.directory_service import DirectoryMethods
from tvix.grpc_api.doors import Doors
from tvix.grpc_api.extension import extension_methods
from tvix.grpc_api.framed_call import Rules
from tvix.grpc_api.framed_server import FramedServer
from tvix.grpc_api.group_sync import GroupSync
from tvix.grpc_api.load import DEFAULT_LIMITS, Limits
from tvix.grpc_api.methods import Method, MethodTable
from tvix.grpc_api.path_info_service import PathInfoMethods
from tvix.grpc_api.policy import Access, Insecure, Listen, NoServerCertificate, access_at, caller_at, parse_listen
from tvix.grpc_api.sockets import bind, bind_framed
from tvix.grpc_api.status import Failures
from tvix.store.path_infos.checking import CheckingPathInfoService
from tvix.store.store import Store

if TYPE_CHECKING:
    from socket import socket

    from tvix.castore.credentials import ServerTls
    from tvix.events import Emit
    from tvix.grpc_api.caller import Caller
    from tvix.grpc_api.grpc_transport import GrpcThreads, GrpcTransport

__all__ = ["Limits", "Server", "make_server", "methods_of"]

_IDLE_AT_STOP = 0.3
"""Seconds without a message after which a stream is ended when the server stops."""
_STOP_STEP = 0.05


class Server:
    """Made by `make_server`; serves from `start` until `stop`."""

    def __init__(self, store: Store, framed: FramedServer) -> None:
        self._store = store
        self._framed = framed
        self._transports: list[GrpcTransport] = []
        self._threads: GrpcThreads | None = None
        self._stopped = False
        self.addresses: tuple[Listen, ...] = ()

    def start(self) -> None:
        """Answer calls from now on."""
        for transport in self._transports:
            transport.server.start()
        self._framed.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Until the server has stopped, at most `timeout` seconds; says whether it has."""
        return not any(transport.server.wait_for_termination(timeout) for transport in self._transports)

    def stop(self, grace: float = 10.0) -> None:
        """Take no new calls, give those under way `grace` seconds, end them, and make the store durable. The store stays open.

        Streams on which nothing moves are ended at once: their callers have vanished, or have nothing to ask.
        """
        if self._stopped:
            return
        self._stopped = True
        for transport in self._transports:
            transport.standard.stop()
        stopped = [transport.server.stop(grace) for transport in self._transports]
        self._framed.stop()
        end = monotonic() + grace
        while not (self._framed.idle and all(event.is_set() for event in stopped)) and monotonic() < end:
            self._framed.end_waiting(_IDLE_AT_STOP)
            if self._threads is not None:
                self._threads.end_waiting(_IDLE_AT_STOP)
            for event in stopped:
                event.wait(_STOP_STEP)
            if not stopped:
                self._framed.wait(_STOP_STEP)
        self._framed.close()
        for event in stopped:
            event.wait()
        for transport in self._transports:
            transport.standard.close()
        if self._threads is not None:
            self._threads.close()
        self._store.sync()


def make_server(
    store: Store,
    addresses: Iterable[str | Listen],
    *,
    insecure: Insecure = None,
    read_only: bool = False,
    socket_mode: int = 0o600,
    limits: Limits = DEFAULT_LIMITS,
    tls: ServerTls | None = None,
    inherited: Mapping[Listen, socket] | None = None,
    reuse_port: bool = False,
    extension: bool = True,
    emit: Emit = silent,
) -> Server:
    """A server of `store`, bound but not started.

    What callers may do at an address is decided in `tvix.grpc_api.policy`; `read_only` takes writes away everywhere. Addresses with
    TLS need `tls`. Several processes may serve the same addresses with `reuse_port`, and share listening sockets of the framed
    protocol that were `inherited`. Without `extension` nothing but the published
    services is offered. Raises `InvalidListenAddress`, `InsecureAddress`, `NoServerCertificate`, `CannotListen`.
    """
    assembly = _Assembly(store, limits, emit, read_only=read_only, reuse_port=reuse_port, extension=extension)
    server = assembly.server
    try:
        for address in addresses:
            listen = parse_listen(address) if isinstance(address, str) else address
            access: Access = "read" if read_only else access_at(listen, insecure)
            if listen.encrypted and tls is None:
                raise NoServerCertificate(address=listen)
            caller = None if listen.encrypted else caller_at(listen, access)
            own_tls = tls if listen.encrypted else None
            server.addresses += (assembly.add(listen, caller, own_tls, socket_mode, (inherited or {}).get(listen)),)
    except BaseException:
        server.stop(0)
        raise
    assembly.doors.stand(server.addresses)
    return server


def methods_of(store: Store, message_bytes: int, *, extension: bool = True, doors: Doors | None = None) -> Iterator[Method]:
    """Everything that is offered of `store`, or the published services alone. Those who write at a time share syncs."""
    sync_blobs, sync_directories = GroupSync(store.blobs.sync), GroupSync(store.directories.sync)
    sync_path_infos = GroupSync(store.path_infos.sync)
    checking = CheckingPathInfoService(store.path_infos, store.blobs, store.directories)
    yield from BlobMethods(store.blobs, sync_blobs).methods()
    yield from DirectoryMethods(store.directories, sync_directories).methods()
    yield from PathInfoMethods(checking, sync_path_infos).methods()
    if not extension:
        return
    yield from extension_methods(
        store,
        sync_blobs=sync_blobs,
        sync_directories=sync_directories,
        sync_path_infos=sync_path_infos,
        message_bytes=message_bytes,
        doors=doors,
    )


class _Assembly:
    """Makes the transports that the addresses want, gRPC's only where one does: it is heavy."""

    def __init__(self, store: Store, limits: Limits, emit: Emit, *, read_only: bool, reuse_port: bool, extension: bool) -> None:
        self.doors = Doors()
        self._limits = limits
        self._read_only = read_only
        self._reuse_port = reuse_port
        self._table = MethodTable(methods_of(store, limits.message_bytes, extension=extension, doors=self.doors))
        self._failures = Failures(emit)
        self._framed = FramedServer(Rules(self._table, limits, self._failures, read_only=read_only), emit)
        self._transports: dict[tuple[Caller | None, bool], GrpcTransport] = {}
        self.server = Server(store, self._framed)

    def add(
        self, listen: Listen, caller: Caller | None, tls: ServerTls | None, socket_mode: int, inherited: socket | None
    ) -> Listen:
        """Listen there, and say where that is."""
        if listen.framed:
            if inherited is not None:
                self._framed.listen(inherited, caller, tls)
                return listen
            listening, bound = bind_framed(listen, socket_mode, reuse_port=self._reuse_port)
            self._framed.listen(listening, caller, tls)
            return bound
        transport = self._transport(caller, tls)
        return bind(transport.server, listen, socket_mode, tls=tls, reuse_port=self._reuse_port)

    def _transport(self, caller: Caller | None, tls: ServerTls | None) -> GrpcTransport:
        from tvix.grpc_api.grpc_transport import GrpcThreads, GrpcTransport

        found = self._transports.get((caller, tls is not None))
        if found is None:
            server = self.server
            server._threads = server._threads or GrpcThreads(self._limits)
            found = GrpcTransport(
                self._table,
                server._threads,
                self._failures,
                caller=caller,
                tls=tls,
                read_only=self._read_only,
                reuse_port=self._reuse_port,
            )
            self._transports[caller, tls is not None] = found
            server._transports.append(found)
        return found
