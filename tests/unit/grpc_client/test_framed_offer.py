"""From gRPC's address to the framed one of the same server: when, to where, and when not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import grpc
import pytest

from tvix.castore.addresses import Address, parse_address
from tvix.castore.credentials import ServerTls, files_in
from tvix.castore.framed_offer import framed_address
from tvix.castore.transfer.messages import SERVICE
from tvix.castore.transfer.requests import Description, decode_description, encode_description
from tvix.grpc_api.doors import Doors
from tvix.grpc_api.policy import parse_listen
from tvix.grpc_api.server import Server, make_server
from tvix.store.addresses import open_store
from tvix.testing.site import Site

ROOT = Path(__file__).parents[3]
SECONDS = 10.0
Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves an empty store at addresses."""
    servers = []

    def start(*addresses: str, tls: ServerTls | None = None, extension: bool = True) -> Server:
        server = make_server(open_store("memory:"), addresses, tls=tls, extension=extension)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop(0)


def offered(url: str, seconds: float = SECONDS) -> Address:
    return framed_address(parse_address(url), seconds)


def test_a_port(serve: Serve) -> None:
    called, framed = serve("127.0.0.1:0", "tvix+tcp://127.0.0.1:0").addresses
    found = offered(f"{called.url}?deadline=5&trust=bytes")
    assert found == parse_address(f"{framed.url}?deadline=5&trust=bytes")


def test_a_socket_with_any_name(serve: Serve, tmp_path: Path) -> None:
    """In a directory that the server may know by another name."""
    here, there = tmp_path / "here %", tmp_path / "there"
    here.mkdir()
    there.symlink_to(here)
    serve(f"unix:{here}/grpc", f"tvix+unix:{here}/a b%?\udcff#\xe4")
    found = offered(f"grpc+unix:{there}/grpc")
    assert found.scheme == "tvix+unix"
    assert found.path == f"{there}/a b%?\udcff#\xe4"
    assert parse_address(found.url) == found
    assert found.trusts_lists


def test_with_tls(serve: Serve, tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    tls = ServerTls(files_in(os.fspath(site.issue("server"))))
    called, plain, framed = serve("grpc+https://127.0.0.1:0", "tvix+tcp://127.0.0.1:0", "tvix+tls://127.0.0.1:0", tls=tls).addresses
    assert plain.port != framed.port
    found = offered(f"{called.url}?credentials={site.issue('reader')}")
    assert (found.scheme, found.port) == ("tvix+tls", framed.port)


def test_tls_is_never_left(serve: Serve, tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    tls = ServerTls(files_in(os.fspath(site.issue("server"))))
    called, _ = serve("grpc+https://127.0.0.1:0", "tvix+tcp://127.0.0.1:0", tls=tls).addresses
    url = f"{called.url}?credentials={site.issue('reader')}"
    assert offered(url) == parse_address(url)


def test_who_is_not_let_in_hears_it_from_grpc(serve: Serve, tmp_path: Path) -> None:
    site, other = Site(tmp_path / "site"), Site(tmp_path / "other", "other")
    tls = ServerTls(files_in(os.fspath(site.issue("server"))))
    called, _ = serve("grpc+https://127.0.0.1:0", "tvix+tls://127.0.0.1:0", tls=tls).addresses
    url = f"{called.url}?credentials={other.issue('reader')}"
    assert offered(url) == parse_address(url)


@pytest.mark.parametrize("extension", [True, False])
def test_a_server_with_nothing_to_offer(serve: Serve, *, extension: bool) -> None:
    (called,) = serve("127.0.0.1:0", extension=extension).addresses
    assert offered(called.url) == parse_address(called.url)


def test_a_server_of_someone_else() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    url = f"grpc+http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    assert offered(url) == parse_address(url)
    server.stop(0).wait()


def test_no_server_and_one_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"grpc+http://127.0.0.1:{listening.getsockname()[1]}"
        assert offered(url, 0.1) == parse_address(url)
    started = monotonic()
    assert offered(url) == parse_address(url)
    assert monotonic() - started < SECONDS / 2


@pytest.fixture
def tell() -> Iterator[Callable[[Description], str]]:
    """A gRPC server that describes itself as it is told: its address."""
    servers = []

    def start(description: Description, place: str = "127.0.0.1:0") -> str:
        answer = encode_description(description)
        handlers = {"Describe": grpc.unary_unary_rpc_method_handler(lambda _request, _context: answer)}
        server = grpc.server(ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = server.add_insecure_port(place)
        server.start()
        servers.append(server)
        return f"grpc+{place}" if place.startswith("unix:") else f"grpc+http://127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait()


def test_what_is_not_there_is_passed_over(tell: Callable[[Description], str], serve: Serve) -> None:
    """A port that is closed, one where something else is, and then the right one."""
    (framed,) = serve("tvix+tcp://127.0.0.1:0").addresses
    (other,) = serve("127.0.0.1:0").addresses
    with socket.create_server(("127.0.0.1", 0)) as listening:
        closed = listening.getsockname()[1]
    url = tell(Description(features=["closure"], framed_ports=[0, 1 << 20, closed, other.port, framed.port]))
    assert offered(url).port == framed.port


def test_a_place_that_says_nothing_costs_its_time_alone(tell: Callable[[Description], str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = tell(Description(features=["closure"], framed_ports=[silent.getsockname()[1]] * 100))
        started = monotonic()
        assert offered(url, 0.3) == parse_address(url)
        assert monotonic() - started < SECONDS


@pytest.mark.parametrize("name", [b"../framed", b"/elsewhere", b"..", b"."])
def test_no_other_directory(tell: Callable[..., str], serve: Serve, tmp_path: Path, name: bytes) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    serve(f"tvix+unix:{tmp_path}/framed")
    url = tell(Description(features=["closure"], framed_sockets=[name]), f"unix:{inner}/grpc")
    assert offered(url) == parse_address(url)


def test_what_cannot_be_decoded_is_no_offer() -> None:
    over = Event()
    message = b"\x2a\x01\xff"
    body = b"\0" + len(message).to_bytes(4, "big") + message
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connected, _ = listening.accept()
        with connected:
            connected.sendall(len(body).to_bytes(3, "big") + b"\0\1\0\0\0\1" + body)
            over.wait()

    thread = Thread(target=answer)
    thread.start()
    url = f"grpc+http://127.0.0.1:{listening.getsockname()[1]}"
    assert offered(url) == parse_address(url)
    over.set()
    thread.join()
    listening.close()


def test_other_addresses_are_left_alone() -> None:
    for url in ("tvix+tcp://127.0.0.1:1", "memory:", "pack:/nowhere"):
        assert offered(url) == parse_address(url)


def test_it_takes_no_grpc(serve: Serve) -> None:
    called, _ = serve("127.0.0.1:0", "tvix+tcp://127.0.0.1:0").addresses
    script = """
import sys
from tvix.castore.addresses import parse_address
from tvix.castore.framed_offer import framed_address
print(framed_address(parse_address(sys.argv[1]), 10).scheme, *({"grpc", "ssl", "asyncio", "google.protobuf"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script, called.url], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "tvix+tcp\n"


def test_a_description_says_where() -> None:
    described = Description("tvix", True, ("a",), 1, (1, 300, 65535), (8001,), (b"a", b"\xff"))
    assert decode_description(encode_description(described)) == described


@pytest.mark.parametrize(
    ("addresses", "ports", "tls_ports", "sockets"),
    [
        ("127.0.0.1:1 tvix+tcp://127.0.0.1:2", (2,), (), ()),
        ("127.0.0.1:1 tvix+tcp://127.0.0.2:2", (), (), ()),
        ("127.0.0.1:1 10.0.0.1:1 tvix+tcp://127.0.0.1:2", (), (), ()),
        ("127.0.0.1:1 10.0.0.1:1 tvix+tcp://0.0.0.0:2 tvix+tcp://[::]:3", (2, 3), (), ()),
        ("0.0.0.0:1 tvix+tcp://127.0.0.1:2", (), (), ()),
        ("127.0.0.1:1 tvix+tls://127.0.0.1:2", (), (), ()),
        ("127.0.0.1:1 grpc+https://0.0.0.0:2 tvix+tls://0.0.0.0:3 tvix+tcp://127.0.0.1:4", (4,), (3,), ()),
        ("unix:/a/g tvix+unix:/a/f", (), (), (b"f",)),
        ("unix:/a/g tvix+unix:/b/f tvix+tcp://127.0.0.1:1", (), (), ()),
        ("unix:/a/g unix:/b/g tvix+unix:/a/f", (), (), ()),
        ("tvix+unix:/a/f tvix+tcp://127.0.0.1:1", (), (), ()),
    ],
)
def test_doors_are_told_where_they_are_reached_as_grpc_is(
    addresses: str, ports: tuple[int, ...], tls_ports: tuple[int, ...], sockets: tuple[bytes, ...]
) -> None:
    doors = Doors()
    doors.stand([parse_listen(address) for address in addresses.split()])
    assert (doors.ports, doors.tls_ports, doors.sockets) == (ports, tls_ports, sockets)
