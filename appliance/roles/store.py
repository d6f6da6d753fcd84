"""The store role: a process that serves a store over gRPC until it is told to stop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from tvix.events import Operation, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tvix.castore.credentials import CredentialFiles, ServerTls
    from tvix.events import Emit
    from tvix.grpc_api.policy import Insecure, Listen

_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StoreServerSpec(NamedTuple):
    """What to serve and where. `store` is an address; `listen` are as `tvix.grpc_api.policy` reads them, port 0 takes a free one.

    `insecure` is what callers from beyond this machine may do where there is no TLS, `credentials` is what addresses with TLS show.
    `grace` is how many seconds calls under way get at the end.
    """

    store: str
    listen: Sequence[str]
    insecure: Insecure = None
    read_only: bool = False
    grace: float = 10.0
    credentials: CredentialFiles | None = None


def serve_store(spec: StoreServerSpec, ready: Callable[[Sequence[Listen]], object], emit: Emit = silent) -> None:
    """Bind, call `ready` with the bound addresses, and serve until SIGTERM, SIGINT or SIGHUP; then let calls end and sync.

    To be called in the main thread. A second signal ends the process at once, which a store survives. Raises what opening the
    store raises, `InvalidListenAddress`, `InsecureAddress`, `CannotListen`, and what is wrong with the credentials.
    """
    from appliance import grpc_log
    from tvix.grpc_api.policy import access_at, parse_listen

    grpc_log.silence()
    listens = [parse_listen(text) for text in spec.listen]
    for listen in listens:  # before a store is opened or made
        access_at(listen, spec.insecure)
    tls = _server_tls(spec, listens, emit)
    # Blocked before the first thread is started, so that every thread inherits it and the signal waits for `sigwait`.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    try:
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


def _serve(
    spec: StoreServerSpec,
    listens: Sequence[Listen],
    tls: ServerTls | None,
    ready: Callable[[Sequence[Listen]], object],
    emit: Emit,
    mask: set[signal.Signals] | set[int],
) -> None:
    from tvix.grpc_api.server import make_server
    from tvix.store.addresses import open_store

    with open_store(spec.store) as store:
        server = make_server(store, listens, insecure=spec.insecure, read_only=spec.read_only, tls=tls, emit=emit)
        try:
            server.start()
            ready(server.addresses)
            signal.sigwait(_STOP)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        finally:
            server.stop(spec.grace)
