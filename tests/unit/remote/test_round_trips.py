"""How often a client asks a server of ours: counted, since that is what time is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tvix.castore.blobs.interface import BulkBlobService
from tvix.castore.digests import digest_of
from tvix.castore.directory import Directory
from tvix.castore.framed_connection import Connection
from tvix.castore.ingest.filesystem import ingest_tree
from tvix.castore.nodes import FileNode, Name
from tvix.grpc_api.server import make_server
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.addresses import open_store
from tvix.store.closure import closure
from tvix.store.path_info import PathInfo
from tvix.store.store import Store
from tvix.testing.blobs_conformance import noise
from tvix.testing.trees import make_tree

DESCRIBED = {"Transfer/Describe": 1}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each request had that goes with its call."""
    sizes: list[int] = []
    begin = Connection.begin

    def counting(self: Connection, path: str, request: bytes | None, *more: Any) -> None:  # noqa: ANN401
        sizes.append(len(request or b""))
        begin(self, path, request, *more)

    monkeypatch.setattr(Connection, "begin", counting)
    return sizes


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()
    begin = Connection.begin

    def counting(self: Connection, path: str, *more: Any) -> None:  # noqa: ANN401
        counted[path.rpartition(".")[2]] += 1
        begin(self, path, *more)

    monkeypatch.setattr(Connection, "begin", counting)
    return counted


@pytest.fixture
def served() -> Iterator[Store]:
    with open_store("memory:") as store:
        yield store


@pytest.fixture
def store(served: Store, tmp_path: Path) -> Iterator[Store]:
    server = make_server(served, [f"tvix+unix:{tmp_path}/socket"])
    server.start()
    with open_store(f"tvix+unix:{tmp_path}/socket") as client:
        yield client
    server.stop(grace=0)


def test_missing_of_ten_thousand_is_one_call(served: Store, store: Store, counts: Counter[str]) -> None:
    here = [served.blobs.put(b"%d" % number) for number in range(100)]
    absent = [digest_of(b"absent %d" % number) for number in range(10_000)]
    assert store.blobs.missing(here + absent) == set(absent)
    assert store.directories.missing(absent) == set(absent)
    assert counts == {"Transfer/Missing": 2} | DESCRIBED


def test_a_thousand_small_blobs_are_one_call(served: Store, store: Store, counts: Counter[str]) -> None:
    digests = [served.blobs.put(b"%d" % number) for number in range(1000)]
    read = [bytes(contents or b"") for _digest, contents in store.blobs.read_many([*digests, digest_of(b"absent")])]
    assert read == [*(b"%d" % number for number in range(1000)), b""]
    assert counts == {"Transfer/Fetch": 1} | DESCRIBED


def test_one_small_blob_is_one_call_without_a_question_before(served: Store, store: Store, counts: Counter[str]) -> None:
    digest = served.blobs.put(b"x")
    assert store.blobs.open(digest) is not None
    assert counts == {"BlobService/Read": 1}


def test_uploads_go_in_batches_and_what_is_there_does_not_go(served: Store, store: Store, counts: Counter[str]) -> None:
    blobs = [(digest_of(contents), contents) for contents in (b"%d" % number for number in range(1000))]
    for _digest, contents in blobs[:500]:
        served.blobs.put(contents)
    assert isinstance(store.blobs, BulkBlobService)
    store.blobs.put_many(blobs[:500])
    store.blobs.sync()
    assert counts == {"Transfer/Missing": 1} | DESCRIBED
    store.blobs.put_many(blobs)
    store.blobs.sync()
    assert counts == {"Transfer/Missing": 2, "Transfer/PutBlobs": 1} | DESCRIBED
    assert served.blobs.missing([digest for digest, _contents in blobs]) == set()


def test_an_import_of_many_files_is_few_calls(served: Store, store: Store, counts: Counter[str], tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", {b"%d" % number: b"contents %d" % number for number in range(2000)})
    node = ingest_tree(tmp_path / "tree", store.blobs, store.directories)
    store.sync()
    assert len(list(served.directories.closure(node.digest))) == 1  # type: ignore[union-attr]
    assert counts == {"Transfer/Missing": 3, "Transfer/PutBlobs": 3, "DirectoryService/Put": 1} | DESCRIBED


def test_a_version_that_shares_chunks_sends_what_is_new(store: Store, sent: list[int]) -> None:
    store.blobs._channel.distant = True  # type: ignore[attr-defined]
    first = noise(4 << 20)
    second = first[: 2 << 20] + b"something new" + first[2 << 20 :]
    for contents, most in ((first, 4.2 * (1 << 20)), (second, 600_000), (second, 20_000)):
        sent.clear()
        writer = store.blobs.writer()
        writer.write(contents)
        assert writer.close() == digest_of(contents)
        assert sum(sent) < most
        reader = store.blobs.open(digest_of(contents))
        assert reader is not None
        assert b"".join(bytes(reader.read_at(offset, 1 << 20)) for offset in range(0, len(contents), 1 << 20)) == contents


def test_what_compresses_goes_compressed_to_a_distant_server(store: Store, sent: list[int]) -> None:
    store.blobs._channel.distant = True  # type: ignore[attr-defined]
    for number in range(100):
        store.blobs.put(b"%d " % number * 2000)
    store.blobs.sync()
    assert sum(sent) < 20_000
    digests = [digest_of(b"%d " % number * 2000) for number in range(100)]
    read = [bytes(contents or b"") for _digest, contents in store.blobs.read_many(digests)]
    assert read == [b"%d " % number * 2000 for number in range(100)]


def test_a_closure_of_path_infos_is_one_call(served: Store, store: Store, counts: Counter[str]) -> None:
    leaf = Directory.of([(Name(b"x"), FileNode(served.blobs.put(b"x"), 1, False))])
    served.directories.put([leaf])
    paths = [StorePath(StorePathDigest(bytes([number]) * 20), "path") for number in range(50)]
    infos = [PathInfo(path, leaf.node, 1, bytes(32), tuple(paths[number - 1 : number])) for number, path in enumerate(paths)]
    served.path_infos.put_many(infos)
    assert list(closure(store.path_infos, [paths[-1]])) == sorted(paths)
    assert counts == {"PathInfos/Closure": 1}, "whether it is offered isn't asked before"
    assert len(store.path_infos.get_many([path.digest for path in paths])) == 50
    assert counts == {"PathInfos/Closure": 1, "PathInfos/GetMany": 1} | DESCRIBED


def test_a_closure_of_path_infos_of_a_server_of_another_kind(served: Store, tmp_path: Path) -> None:
    leaf = Directory.of([(Name(b"x"), FileNode(served.blobs.put(b"x"), 1, False))])
    served.directories.put([leaf])
    paths = [StorePath(StorePathDigest(bytes([number]) * 20), "path") for number in range(3)]
    infos = [PathInfo(path, leaf.node, 1, bytes(32), tuple(paths[number - 1 : number])) for number, path in enumerate(paths)]
    served.path_infos.put_many(infos)
    server = make_server(served, [f"tvix+unix:{tmp_path}/other"], extension=False)
    server.start()
    with open_store(f"tvix+unix:{tmp_path}/other") as client:
        assert list(closure(client.path_infos, [paths[-1]])) == sorted(paths)
    server.stop(grace=0)


def test_near_learns_a_closure_of_path_infos_by_one_call(served: Store, store: Store, counts: Counter[str], tmp_path: Path) -> None:
    leaf = Directory.of([(Name(b"x"), FileNode(served.blobs.put(b"x"), 1, False))])
    served.directories.put([leaf])
    paths = [StorePath(StorePathDigest(bytes([number]) * 20), "path") for number in range(50)]
    infos = [PathInfo(path, leaf.node, 1, bytes(32), tuple(paths[number - 1 : number])) for number, path in enumerate(paths)]
    served.path_infos.put_many(infos)
    with open_store(f"cache:?near=memory:&far=tvix%2Bunix:{tmp_path}/socket") as cache:
        for _ in range(2):
            assert list(closure(cache.path_infos, [paths[-1]])) == sorted(paths)
    assert counts == {"PathInfos/Closure": 1}
    assert store.path_infos.get_many([]) == {}
