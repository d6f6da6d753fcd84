"""`cache:` in front of a server that goes away: what is near is read on, the rest is an error in time, and comes later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast
from urllib.parse import quote

import pytest

from tvix.castore.blobs.contents import open_file
from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name
from tvix.grpc_api.server import make_server
from tvix.store.addresses import open_store
from tvix.store.importing import import_path
from tvix.store.path_info import PathInfo
from tvix.store.store import Store
from tvix.testing.blobs_conformance import noise
from tvix.testing.trees import make_tree

LARGE = noise(3 << 20)


class Far:
    """A server that comes and goes, with a path in it."""

    def __init__(self, place: Path, listen: str) -> None:
        self.listen = listen.format(place)
        self.store = open_store(f"pack:{place}/far")
        self.info = import_path(self.store, make_tree(place / "tree", {b"small": b"x", b"large": LARGE, b"later": b"y"}))
        self.up()

    def up(self) -> None:
        self._server = make_server(self.store, [self.listen])
        self._server.start()

    def down(self) -> None:
        self._server.stop(grace=0)

    @property
    def url(self) -> str:
        return ("" if self.listen.startswith("tvix+") else "grpc+") + self.listen


@pytest.fixture(params=["tvix+unix:{}/socket", "unix:{}/socket"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Far]:
    far = Far(tmp_path, cast("str", request.param))
    yield far
    far.down()
    far.store.close()


def root_of(store: Store, info: PathInfo) -> Directory:
    found = store.path_infos.get_many([info.path.digest])[info.path.digest]
    assert isinstance(found.node, DirectoryNode)
    return store.directories.get_many([found.node.digest])[found.node.digest]


def read(store: Store, root: Directory, name: bytes, offset: int = 0, length: int = 1 << 30) -> bytes:
    node = root.entries[Name(name)]
    assert isinstance(node, FileNode)
    reader = open_file(store.blobs, node)
    try:
        return bytes(reader.read_at(offset, length))
    finally:
        reader.close()


@pytest.mark.parametrize("trust", ["bytes", "lists"])
def test_what_is_near_is_read_on_while_far_is_away(far: Far, tmp_path: Path, trust: str) -> None:
    deadline = 0.3 if far.url.startswith("tvix") else 1.5  # gRPC looks again once a second
    url = quote(f"{far.url}?deadline={deadline}&trust={trust}", safe="")
    with open_store(f"cache:?near=pack:{tmp_path}/near&far={url}") as store:
        root = root_of(store, far.info)
        assert read(store, root, b"small") == b"x"
        assert read(store, root, b"large", 1_000_000, 100) == LARGE[1_000_000:1_000_100]
        far.down()
        root = root_of(store, far.info)
        assert read(store, root, b"small") == b"x"
        if trust == "bytes":  # the whole has come
            assert read(store, root, b"large") == LARGE
        else:
            with pytest.raises(StoreUnavailable):
                read(store, root, b"large")
        with pytest.raises(StoreUnavailable):
            read(store, root, b"later")
        far.up()
        assert read(store, root, b"later") == b"y"
        assert read(store, root, b"large") == LARGE
        far.down()
        assert read(store, root, b"large") == LARGE
    with open_store(f"cache:?near=pack:{tmp_path}/near&far={url}") as store:  # another process, as it were
        assert read(store, root_of(store, far.info), b"large") == LARGE
