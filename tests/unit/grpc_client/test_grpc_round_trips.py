"""How often a client asks by the published protocol: counted, since that is what time is made of."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tvix.castore.digests import digest_of
from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode, Name
from tvix.castore.remote_channel import Channel
from tvix.grpc_api.server import make_server
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.addresses import open_store
from tvix.store.store import Store

BLOB = FileNode(digest_of(b"x"), 1, False)
LEAF = Directory.of([(Name(b"x"), BLOB)])
ROOT = Directory.of([(Name(b"%d" % number), LEAF.node) for number in range(50)])

DESCRIBED = {"Transfer/Describe": 1}


class CountedChannel:
    """Stands between a client and gRPC, and counts calls by method."""

    def __init__(self, inner: Any, counts: Counter[str]) -> None:  # noqa: ANN401
        self._inner = inner
        self._counts = counts

    def __getattr__(self, kind: str) -> Any:  # noqa: ANN401
        make = getattr(self._inner, kind)
        if kind not in ("unary_unary", "unary_stream", "stream_unary"):
            return make

        def method(path: str) -> Any:  # noqa: ANN401
            return Counted(make(path), path.rpartition(".")[2], self._counts)

        return method


class Counted:
    def __init__(self, inner: Any, name: str, counts: Counter[str]) -> None:  # noqa: ANN401
        self._inner = inner
        self._name = name
        self._counts = counts

    def __call__(self, *arguments: object, **options: object) -> object:
        self._counts[self._name] += 1
        return self._inner(*arguments, **options)

    def future(self, *arguments: object, **options: object) -> object:
        self._counts[self._name] += 1
        return self._inner.future(*arguments, **options)


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
def store(tmp_path: Path, counts: Counter[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    make = grpc.insecure_channel
    monkeypatch.setattr(grpc, "insecure_channel", lambda *arguments, **options: CountedChannel(make(*arguments, **options), counts))
    with open_store("memory:") as served:
        served.blobs.put(b"x")
        served.blobs.put(bytes(3 << 20))
        served.directories.put([LEAF, ROOT])
        server = make_server(served, [f"unix:{tmp_path}/socket"], extension=False)
        server.start()
        with open_store(f"grpc+unix:{tmp_path}/socket") as client:
            yield client
        server.stop(grace=0)


def test_a_small_blob_is_one_call(store: Store, counts: Counter[str]) -> None:
    reader = store.blobs.open(BLOB.digest)
    assert reader is not None
    assert reader.size == 1
    assert bytes(reader.read_at(0, 1)) == b"x"
    assert counts == {"BlobService/Read": 1}


def test_a_large_blob_read_in_order_is_one_call(store: Store, counts: Counter[str]) -> None:
    reader = store.blobs.open(digest_of(bytes(3 << 20)))
    assert reader is not None
    offset = 0
    while piece := reader.read_at(offset, 100_000):
        offset += len(piece)
    assert offset == reader.size == 3 << 20
    assert counts == {"BlobService/Read": 1}


def test_a_closure_is_one_call(store: Store, counts: Counter[str]) -> None:
    assert len(list(store.directories.closure(ROOT.digest))) == 2
    assert counts == {"DirectoryService/Get": 1} | DESCRIBED


def test_what_is_missing_is_one_call_each_and_each_once(store: Store, counts: Counter[str]) -> None:
    absent = [digest_of(b"%d" % number) for number in range(200)]
    assert store.blobs.missing([BLOB.digest, *absent, *absent]) == set(absent)
    assert store.path_infos.get_many([StorePathDigest(bytes(20))] * 3) == {}
    assert counts == {"BlobService/Stat": 201, "PathInfoService/Get": 1} | DESCRIBED


def test_the_same_upload_twice_at_a_time_is_one(store: Store, counts: Counter[str]) -> None:
    for number in range(10):
        store.blobs.put(b"%d" % number)
    store.sync()
    assert counts == {"BlobService/Put": 10} | DESCRIBED


def test_a_reader_that_is_forgotten_ends_its_call(store: Store, counts: Counter[str]) -> None:
    reader = store.blobs.open(digest_of(bytes(3 << 20)))
    del reader
    gc.collect()
    channel = store.blobs._channel  # type: ignore[attr-defined]
    assert channel.watchdog._watches == set()
    assert counts == {"BlobService/Read": 1}


def test_a_fork_is_an_error_and_no_hang(store: Store) -> None:
    channel: Channel = store.blobs._channel  # type: ignore[attr-defined]
    assert store.blobs.missing([BLOB.digest]) == set()
    channel._process = os.getppid()  # as a child finds it
    with pytest.raises(AssertionError, match="forked"):
        store.blobs.missing([BLOB.digest])
    channel._process = os.getpid()
