"""Every method of every service × who calls × how: what is answered, and that nobody's call is done who may not.

The methods come from the server's own table, so one that is added is in here. What each needs is written down once more, so that
a method which forgets to say that it writes is noticed.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from tvix.castore.credentials import Credentials, ServerTls, files_in
from tvix.castore.grpc_errors import ERROR_KEY
from tvix.castore.transfer.framing import CALL, END, ERROR, HEADER, MESSAGE, decode_status, record
from tvix.grpc_api import server as server_module
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.methods import Method, MethodTable
from tvix.store.addresses import open_store
from tvix.testing.site import Site

WRITES = {
    *(
        f"/{generation}.castore.v1.{service}/Put"
        for generation in ("tvix", "snix")
        for service in ("BlobService", "DirectoryService")
    ),
    *(f"/{generation}.store.v1.PathInfoService/Put" for generation in ("tvix", "snix")),
    "/tvix_appliance.store.v1.ClosureRoots/Put",
    "/tvix_appliance.store.v1.PathInfos/PutMany",
    "/tvix_appliance.castore.v1.Transfer/PutBlobs",
    "/tvix_appliance.castore.v1.Transfer/PutChunked",
}
SERVICES = {
    *(f"{generation}.castore.v1.{service}" for generation in ("tvix", "snix") for service in ("BlobService", "DirectoryService")),
    *(f"{generation}.store.v1.PathInfoService" for generation in ("tvix", "snix")),
    "tvix_appliance.castore.v1.Transfer",
    "tvix_appliance.store.v1.PathInfos",
    "tvix_appliance.store.v1.ClosureRoots",
}
STANDARD = [
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
]
"""Of gRPC alone, and not in the table."""
REFUSED = "refused"
"""The connection: nobody gets to say what he wants."""
DONE = "done"


def _table() -> MethodTable:
    with open_store("memory:") as store:
        return MethodTable(server_module.methods_of(store, 1 << 20))


PATHS = sorted(path for path, _method in _table())


class Server:
    """Over both transports; `called` are the calls that were done, and for whom."""

    def __init__(self, site: Site, called: list[tuple[str, str]]) -> None:
        self.called = called
        self._store = open_store("memory:")
        tls = ServerTls(files_in(str(site.issue("server"))))
        self._server = server_module.make_server(self._store, ["grpc+https://127.0.0.1:0", "tvix+tls://127.0.0.1:0"], tls=tls)
        self._server.start()
        self.ports = [listen.port for listen in self._server.addresses]

    def close(self) -> None:
        self._server.stop(0)
        self._store.close()


def _recorded(methods: Iterator[Method], called: list[tuple[str, str]]) -> Iterator[Method]:
    for method in methods:

        def function(request: Any, caller: Caller, method: Method = method) -> Any:  # noqa: ANN401
            called.append((method.name, caller.identity))
            return method.function(request, caller)

        yield method._replace(function=function)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Site]:
    return tuple(Site(tmp_path_factory.mktemp(name), "home") for name in ("home", "elsewhere"))


@pytest.fixture(scope="module")
def server(sites: tuple[Site, Site]) -> Iterator[Server]:
    called: list[tuple[str, str]] = []
    original = server_module.methods_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_module, "methods_of", lambda *words, **options: _recorded(original(*words, **options), called))
        with closing(Server(sites[0], called)) as made:
            yield made


@pytest.fixture(scope="module")
def callers(sites: tuple[Site, Site]) -> dict[str, Path | None]:
    site, other = sites
    return {
        "none": None,
        "wrong CA": other.issue("admin"),
        "expired": site.expired("admin"),
        "not yet valid": site.early("admin"),
        "another site": site.issue("admin", "stranger", site="elsewhere"),
        "reader": site.issue("reader"),
        "builder": site.issue("builder"),
        "server": site.issue("server", "mirror"),
        "writer": site.issue("writer"),
        "admin": site.issue("admin"),
    }


@pytest.fixture(scope="module")
def credentials(sites: tuple[Site, Site], callers: dict[str, Path | None]) -> dict[str, Credentials]:
    """As they lie, whatever their dates: the judgement asked for is the server's."""
    found = {}
    for name, directory in callers.items():
        read = files_in(str(directory)).read() if directory else Credentials(b"")
        found[name] = read._replace(ca=sites[0].ca)
    return found


def call_grpc(port: int, credentials: Credentials, path: str) -> str:
    """The code and identifier of the answer; `DONE` whatever the method made of an empty request."""
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials.grpc_channel_credentials(grpc)) as channel:
        call = channel.stream_stream(path)(iter([b""]), timeout=20)
        try:
            for _message in call:
                pass
        except grpc.RpcError as error:
            identifier = dict(error.trailing_metadata() or ()).get(ERROR_KEY, "")
            return _outcome(error.code().name, identifier, error.details())
        return DONE


def call_framed(port: int, credentials: Credentials, path: str) -> str:
    """The same."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as connected,
            credentials.client_context().wrap_socket(connected, server_hostname="127.0.0.1") as inner,
            inner.makefile("rb") as stream,
        ):
            inner.sendall(record(CALL, path.encode()) + record(MESSAGE) + record(END))
            while head := stream.read(HEADER.size):
                length, kind = HEADER.unpack(head)
                body = stream.read(length)
                if kind == ERROR:
                    status = decode_status(body)
                    return _outcome(status.code, status.identifier, status.details)
                if kind == END:
                    return DONE
            return REFUSED
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return REFUSED


def _outcome(code: str, identifier: str, details: str) -> str:
    if code == "UNAVAILABLE" and not identifier:
        return REFUSED
    if code in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
        return f"{code} {identifier} {details}"
    assert code in ("INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "FAILED_PRECONDITION", "UNIMPLEMENTED"), (code, details)
    return DONE


TRANSPORTS: dict[str, Callable[[int, Credentials, str], str]] = {"grpc": call_grpc, "framed": call_framed}


def expected(caller: str, path: str, method: str) -> str:
    """What a caller should hear."""
    if caller in ("none", "wrong CA", "expired", "not yet valid"):
        return REFUSED
    if caller == "another site":
        return (
            "PERMISSION_DENIED tls.wrong-role tvix://elsewhere/admin/stranger has no rights here: this is a server of the site home"
        )
    if path in WRITES and caller not in ("writer", "admin"):
        name = "mirror" if caller == "server" else "test"
        return f"PERMISSION_DENIED grpc.not-allowed tvix://home/{caller}/{name} may not call {method}: that needs the role writer"
    return DONE


def test_the_table_is_what_is_known_here() -> None:
    assert set(_table().services) == SERVICES
    assert {path for path, method in _table() if method.needs_write} == WRITES


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("path", PATHS)
def test_matrix(server: Server, credentials: dict[str, Credentials], path: str, transport: str) -> None:
    method = path.rpartition("/")[2]
    port = server.ports[list(TRANSPORTS).index(transport)]
    for caller, shown in credentials.items():
        server.called.clear()
        outcome = TRANSPORTS[transport](port, shown, path)
        wanted = expected(caller, path, method)
        assert outcome == wanted, caller
        assert server.called == ([(method, shown.identity)] if wanted == DONE else []), caller


@pytest.mark.parametrize("path", STANDARD)
def test_matrix_of_the_standard_services(server: Server, credentials: dict[str, Credentials], path: str) -> None:
    for caller, shown in credentials.items():
        assert call_grpc(server.ports[0], shown, path) == expected(caller, path, path.rpartition("/")[2]), caller
