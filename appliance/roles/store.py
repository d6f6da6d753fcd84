"""The store role: a process that serves a store until it is told to stop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from tvix.events import Operation, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from socket import socket

    from tvix.castore.credentials import CredentialFiles, ServerTls
    from tvix.events import Emit
    from tvix.grpc_api.policy import Insecure, Listen

_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StoreServerSpec(NamedTuple):
    """What to serve and where. `store` is an address; `listen` are as `tvix.grpc_api.policy` reads them, port 0 takes a free one.

    `insecure` is what callers from beyond this machine may do where there is no TLS, `credentials` is what addresses with TLS show.
    `grace` is how many seconds calls under way get at the end, `processes` how many processes serve one `pack:`.
    """

    store: str
    listen: Sequence[str]
    insecure: Insecure = None
    read_only: bool = False
    grace: float = 10.0
    credentials: CredentialFiles | None = None
    processes: int = 1


def serve_store(spec: StoreServerSpec, ready: Callable[[Sequence[Listen]], object], emit: Emit = silent) -> None:
    """Bind, call `ready` with the bound addresses, and serve until SIGTERM, SIGINT or SIGHUP; then let calls end and sync.

    To be called in the main thread. A second signal ends the process at once, which a store survives. Raises what opening the
    store raises, `InvalidListenAddress`, `InsecureAddress`, `CannotListen`, `ProcessesNeedPack`, `ServerDies`, and what is wrong
    with the credentials.
    """
    from appliance import grpc_log
    from tvix.grpc_api.policy import access_at, parse_listen

    grpc_log.silence()
    listens = [parse_listen(text) for text in spec.listen]
    for listen in listens:  # before a store is opened or made
        access_at(listen, spec.insecure)
    tls = _server_tls(spec, listens, emit)
    # Blocked before the first thread is started, so that every thread inherits it and the signal waits for `sigwait`.
    blocked = (*_STOP, signal.SIGCHLD) if spec.processes > 1 else _STOP
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        if spec.processes > 1:
            _serve_in_processes(spec, listens, tls, ready, emit)
        else:
            _serve(spec, listens, tls, ready, emit, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _server_tls(spec: StoreServerSpec, listens: Sequence[Listen], emit: Emit) -> ServerTls | None:
    """What the server shows, if it shows anything. Files that turn bad while it runs are told to `emit`."""
    from tvix.castore.credentials import ServerTls
    from tvix.grpc_api.policy import NoServerCertificate

    encrypted = [listen for listen in listens if listen.encrypted]
    if not encrypted:
        return None
    if spec.credentials is None:
        raise NoServerCertificate(address=encrypted[0])
    return ServerTls(spec.credentials, lambda error: Operation(emit, "credentials").log(f"not renewed: {error}"))


def _serve_in_processes(
    spec: StoreServerSpec,
    listens: Sequence[Listen],
    tls: ServerTls | None,
    ready: Callable[[Sequence[Listen]], object],
    emit: Emit,
) -> None:
    from appliance.roles.store_processes import Processes, ProcessesNeedPack
    from tvix.castore.addresses import parse_address

    if parse_address(spec.store).scheme != "pack":
        raise ProcessesNeedPack(store=spec.store)

    def serve(listens: Sequence[Listen], inherited: Mapping[Listen, socket], serving: Callable[[], None]) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ()) - set(_STOP)
        _serve(spec, listens, tls, lambda _listens: serving(), emit, mask, inherited)

    Processes(spec.processes, serve, emit, spec.grace).run(listens, ready)


def _serve(
    spec: StoreServerSpec,
    listens: Sequence[Listen],
    tls: ServerTls | None,
    ready: Callable[[Sequence[Listen]], object],
    emit: Emit,
    mask: set[signal.Signals] | set[int],
    inherited: Mapping[Listen, socket] | None = None,
) -> None:
    """`inherited`, even where it is empty, says that other processes serve the same addresses."""
    from tvix.grpc_api.server import make_server
    from tvix.store.addresses import open_store

    with open_store(spec.store) as store:
        server = make_server(
            store,
            listens,
            insecure=spec.insecure,
            read_only=spec.read_only,
            tls=tls,
            emit=emit,
            inherited=inherited,
            reuse_port=inherited is not None,
        )
        try:
            server.start()
            ready(server.addresses)
            signal.sigwait(_STOP)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        finally:
            server.stop(spec.grace)
