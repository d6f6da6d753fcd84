"""The scheduler and our own server, over everything that it listens on."""

from __future__ import annotations

import os
import select
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest

from tvix.castore.addresses import parse_address
from tvix.castore.credentials import ServerTls, files_in
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode, Name
from tvix.castore.remote_channel import open_channel
from tvix.castore.tls_errors import CertificateRefused, CredentialsMissing, OwnCertificateExpired, WrongAuthority
from tvix.castore.transfer.connection import Connection, dialler
from tvix.castore.transfer.framing import MESSAGE, record
from tvix.castore.transfer.hot_set import Key, encode_keys
from tvix.castore.transfer.hot_set_remote import RemoteHotSetService
from tvix.castore.transfer.messages import Frame, encode_frame
from tvix.castore.transfer.scheduler import Scheduler
from tvix.grpc_api.server import make_server
from tvix.grpc_api.tls_sockets import accept
from tvix.store.addresses import open_store
from tvix.testing.fetch_ends import memory, noise, text
from tvix.testing.site import Site

LARGE = noise(3_000_000)
SMALL = [b"%d" % number * 50 for number in range(100)]
LISTENS = [
    "tvix+unix:{path}/framed",
    "tvix+tcp://127.0.0.1:0",
    "tvix+tls://127.0.0.1:0",
    "unix:{path}/grpc",
    "grpc+https://127.0.0.1:0",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Its CA and credentials."""
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[tuple[Digest, dict[str, str]]]:
    """A server of a tree in a pack store: the root, and the addresses by scheme."""
    path = tmp_path_factory.mktemp("served")
    store = open_store(f"pack:{path}/store")
    nodes = [(Name(b"%d" % number), FileNode(store.blobs.put(one), len(one), False)) for number, one in enumerate((*SMALL, LARGE))]
    root = store.directories.put([Directory.of(nodes)])
    store.sync()
    tls = ServerTls(files_in(os.fspath(site.issue("server"))))
    server = make_server(store, [listen.format(path=path) for listen in LISTENS], tls=tls)
    server.start()
    found = {}
    for address in server.addresses:
        url = str(address)
        url = f"grpc+{url}" if url.startswith("unix:") else url
        found[url.partition(":")[0]] = url
    yield root, found
    server.stop()
    store.close()


class Client:
    """A loop around a connection."""

    def __init__(self, url: str) -> None:
        self.near = memory()
        self.scheduler = Scheduler(self.near, url, trusts_lists=True)
        self.connection = Connection(self.scheduler, dialler(parse_address(url)), 10)

    def run(self, until: Callable[[], object]) -> None:
        """Poll until something holds."""
        end = monotonic() + 20
        while not until():
            assert monotonic() < end, "it takes too long"
            poll = select.poll()
            for descriptor, events in self.connection.descriptors():
                poll.register(descriptor, events)
            timeout = self.connection.timeout()
            poll.poll(5000 if timeout is None else int(timeout * 1000) + 1 if timeout else 0)
            self.connection.turn()


def url_of(addresses: dict[str, str], scheme: str, site: Site) -> str:
    """An address as a client writes it."""
    url = addresses[scheme]
    return f"{url}?credentials={site.issue('reader')}" if scheme in ("tvix+tls", "grpc+https") else url


SCHEMES = ["tvix+unix", "tvix+tcp", "tvix+tls", "grpc+unix", "grpc+https"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_closure_and_all_that_is_in_it(served: tuple[Digest, dict[str, str]], site: Site, scheme: str) -> None:
    root, addresses = served
    client = Client(url_of(addresses, scheme, site))
    opened: list[object] = []
    client.scheduler.open_root(root, push=True, done=opened.append)
    client.run(lambda: opened)
    (directory,) = opened
    assert isinstance(directory, Directory), directory
    got: list[tuple[bytes, object]] = []

    def read(contents: bytes) -> None:
        def done(result: object) -> None:
            got.append((contents, result))

        client.scheduler.read(digest_of(contents), len(contents), 0, len(contents), done)

    for contents in (*SMALL, LARGE):
        read(contents)
    before = monotonic()
    client.run(lambda: len(got) == len(SMALL) + 1)
    assert monotonic() - before < 4  # nothing lay in a buffer until a poll was over
    for contents, result in got:
        assert text(result) == contents
    assert client.near.blobs.missing([digest_of(contents) for contents in SMALL]) == set()
    client.run(lambda: not client.connection.waits)
    assert len(client.scheduler.used) > len(SMALL) + 10
    client.connection.close()


def test_a_recorded_hot_set_is_pushed(served: tuple[Digest, dict[str, str]]) -> None:
    root, addresses = served
    url = addresses["tvix+unix"]
    keys = encode_keys([Key(digest_of(SMALL[3])), Key(digest_of(SMALL[4]))])
    channel = open_channel(parse_address(url))
    RemoteHotSetService(channel).put_hot_set(root, "boot", keys)
    channel.close()
    client = Client(url)
    opened: list[object] = []
    client.scheduler.open_root(root, push=True, profile="boot", done=opened.append)
    client.run(lambda: opened and not client.connection.waits and client.connection.timeout() is None)
    assert client.near.blobs.missing([digest_of(SMALL[3]), digest_of(SMALL[4])]) == set()
    assert client.scheduler.announced[root] == keys
    client.connection.close()


@pytest.mark.parametrize("scheme", ["tvix+tls", "grpc+https"])
def test_who_may_not_is_told_so_at_once(served: tuple[Digest, dict[str, str]], site: Site, tmp_path: Path, scheme: str) -> None:
    _root, addresses = served
    stranger = Site(tmp_path / "elsewhere", "home")
    (tmp_path / "none").mkdir()
    for credentials, kind in (
        (stranger.issue("reader"), WrongAuthority),
        (stranger.issue("reader", folder="half", ca=site.ca), CertificateRefused),
        (site.expired("reader"), OwnCertificateExpired),
        (tmp_path / "none", CredentialsMissing),
    ):
        client = Client(f"{addresses[scheme]}?credentials={credentials}")
        got: list[object] = []
        client.scheduler.read(digest_of(SMALL[0]), len(SMALL[0]), 0, 10, got.append)
        before = monotonic()
        client.run(lambda: got)  # noqa: B023
        assert isinstance(got[0], kind), got[0]
        assert monotonic() - before < 5
        client.connection.close()


def test_credentials_that_are_gone_when_the_server_refuses_them(site: Site, tmp_path: Path) -> None:
    """To say what is wrong with them they are read again; the loop survives that they aren't there."""
    listening = socket.create_server(("127.0.0.1", 0))
    tls = ServerTls(files_in(os.fspath(site.issue("server"))))
    gone = Event()

    def refuse() -> None:
        connected, _peer = listening.accept()
        with connected:
            connected.recv(1, socket.MSG_PEEK)
            with tls.context().wrap_socket(connected, server_side=True, do_handshake_on_connect=False) as inner:
                inner.setblocking(False)
                with pytest.raises(ssl.SSLWantReadError):
                    inner.do_handshake()  # our certificate isn't there yet
                gone.wait(20)
                inner.setblocking(True)
                with pytest.raises(ssl.SSLError):
                    inner.do_handshake()

    thread = Thread(target=refuse)
    thread.start()
    ours = Site(tmp_path).issue("reader")
    url = f"tvix+tls://127.0.0.1:{listening.getsockname()[1]}?credentials={ours}&ca={site.issue('reader')}/ca.pem"
    client = Client(url)
    client.run(lambda: client.connection.ready)
    shutil.rmtree(ours)
    gone.set()
    got: list[object] = []
    client.scheduler.read(digest_of(SMALL[0]), len(SMALL[0]), 0, 1, got.append)
    client.run(lambda: got)
    assert isinstance(got[0], CredentialsMissing)
    thread.join()
    client.connection.close()
    listening.close()


def test_two_messages_in_one_record_of_tls_need_no_second_poll(site: Site) -> None:
    """The second lies in OpenSSL's buffer, where no poll sees it."""
    listening = socket.create_server(("127.0.0.1", 0))
    tls = ServerTls(files_in(os.fspath(site.issue("server"))))

    def serve() -> None:
        connected, _peer = listening.accept()
        inner = accept(connected, tls, "test", 5)[0]
        heard = bytearray()
        while bytes(digest_of(SMALL[2])) not in bytes(heard):
            heard += inner.recv(1 << 16)
        frames = [encode_frame(Frame([number], [len(SMALL[number])], [len(SMALL[number])], SMALL[number])) for number in (1, 2)]
        inner.sendall(b"".join(record(MESSAGE, frame) for frame in frames))
        hold.wait()
        inner.close()

    hold = Event()
    thread = Thread(target=serve)
    thread.start()
    client = Client(f"tvix+tls://127.0.0.1:{listening.getsockname()[1]}?credentials={site.issue('reader')}")
    got: list[object] = []
    for number in (1, 2):
        client.scheduler.read(digest_of(SMALL[number]), len(SMALL[number]), 0, 1 << 20, got.append)
    before = monotonic()
    client.run(lambda: len(got) == 2)
    assert monotonic() - before < 1
    assert [text(result) for result in got] == [SMALL[1], SMALL[2]]
    hold.set()
    thread.join()
    client.connection.close()
    listening.close()
