"""Servers that go away and come back, or run out of space, while a client is at work."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from tvix.castore.blobs.interface import Buffer, StoreUnavailable
from tvix.castore.blobs.memory import BytesReader, MemoryBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode, Name
from tvix.castore.remote_errors import StoreFull
from tvix.grpc_api.server import Server, make_server
from tvix.store.addresses import open_store
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.store import Store

LARGE = b"".join(number.to_bytes(8, "big") for number in range(1 << 20))


class FaultyBlobs(MemoryBlobService):
    """Calls `at_read` before every read, and has no space where `full` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.at_read: Callable[[int], None] = lambda _offset: None
        self.full = False

    def open(self, digest: Digest) -> BytesReader | None:
        contents = self._get(digest)
        return None if contents is None else FaultyReader(contents, self)

    def sync(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


class FaultyReader(BytesReader):
    def __init__(self, contents: Buffer, service: FaultyBlobs) -> None:
        super().__init__(contents)
        self.service = service

    def read_at(self, offset: int, length: int) -> Buffer:
        self.service.at_read(offset)
        return super().read_at(offset, length)


class Site:
    """A store and the address at which its server comes and goes."""

    def __init__(self, address: str) -> None:
        self.blobs = FaultyBlobs()
        directories = MemoryDirectoryService()
        self.store = Store(self.blobs, directories, MemoryPathInfoService(self.blobs, directories))
        self.address = address
        self.server: Server | None = None

    def up(self) -> None:
        self.server = make_server(self.store, [self.address])
        self.address = str(self.server.addresses[0])
        self.server.start()

    def down(self) -> None:
        if self.server is not None:
            self.server.stop(grace=0)
            self.server = None


@pytest.fixture(params=["127.0.0.1:0", "unix:{}/socket", "tvix+tcp://127.0.0.1:0", "tvix+unix:{}/socket"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = Site(str(request.param).format(tmp_path))
    site.up()
    yield site
    site.down()


def client_of(site: Site, deadline: float) -> Store:
    prefix = "grpc+http://" if site.address.startswith("127.") else "grpc+" if site.address.startswith("unix:") else ""
    url = prefix + site.address
    return open_store(f"{url}?deadline={deadline}")


def test_a_server_that_is_away_is_unavailable_in_time_and_found_when_it_is_back(site: Site) -> None:
    leaf = Directory.of([(Name(b"x"), FileNode(digest_of(b""), 0, False))])
    with client_of(site, 0.5) as client:
        client.directories.put([leaf])
        digest = client.blobs.put(b"x")
        client.sync()
        site.down()
        for call in (
            lambda: client.blobs.missing([digest]),
            lambda: client.blobs.open(digest),
            lambda: (client.blobs.put(b"y"), client.sync()),
            lambda: client.directories.get_many([leaf.digest]),
            lambda: list(client.directories.closure(leaf.digest)),
            lambda: client.path_infos.get_many([]) or list(client.path_infos.list()),
        ):
            with pytest.raises(StoreUnavailable):
                call()
        site.up()
    with client_of(site, 20) as patient:
        assert patient.blobs.missing([digest]) == set()


def test_one_client_lives_through_restarts(site: Site) -> None:
    with client_of(site, 20) as client:
        digest = client.blobs.put(b"x")
        for _ in range(3):
            site.down()
            site.up()
            assert client.blobs.missing([digest, digest_of(b"y")]) == {digest_of(b"y")}
            assert client.path_infos.get_many([]) == {}


def test_a_server_that_is_not_there_yet_is_waited_for(site: Site) -> None:
    site.down()
    with client_of(site, 20) as client:
        answers: list[set[Digest]] = []
        asking = Thread(target=lambda: answers.append(client.blobs.missing([digest_of(b"x")])))
        asking.start()
        site.up()
        asking.join()
    assert answers == [{digest_of(b"x")}]


def test_a_large_blob_is_read_on_after_a_restart(site: Site) -> None:
    digest = site.blobs.put(LARGE)
    restarts = iter([4 << 20, 6 << 20])
    at = next(restarts)

    def restart(offset: int) -> None:
        nonlocal at
        if offset >= at:
            at = next(restarts, 1 << 40)
            Thread(target=lambda: (site.down(), site.up())).start()
            raise StoreUnavailable(origin="far", reason="it is being restarted")

    site.blobs.at_read = restart
    with client_of(site, 20) as client:
        reader = client.blobs.open(digest)
        assert reader is not None
        out = bytearray()
        while piece := reader.read_at(len(out), 1 << 20):
            out += piece
    assert out == LARGE
    assert at == 1 << 40


def test_a_full_disk_is_said_to_be_one(site: Site) -> None:
    site.blobs.full = True
    with client_of(site, 5) as client:
        client.blobs.put(b"x")
        with pytest.raises(StoreFull, match="No space left"):
            client.sync()
        writer = client.blobs.writer()
        writer.write(LARGE)
        with pytest.raises(StoreFull, match="No space left"):
            writer.close()
    site.blobs.full = False
