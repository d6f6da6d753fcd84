"""Closures and closure roots."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest

from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode, Name
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.addresses import open_store
from tvix.store.closure import MissingReference, PathNotFound, closure, closure_directory, closure_root, path_info_of
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.store import Store


def path(name: str) -> StorePath:
    return StorePath(StorePathDigest(name.encode().ljust(20, b".")), name)


class CountingPathInfos(MemoryPathInfoService):
    """Counts round trips."""

    trips = 0

    def get_many(self, digests: Collection[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        self.trips += 1
        return super().get_many(digests)


class Graph:
    """A store of files that refer to each other as told."""

    def __init__(self, **references: str) -> None:
        plain = open_store("memory:")
        self.path_infos = CountingPathInfos(plain.blobs, plain.directories)
        self.store = Store(plain.blobs, plain.directories, self.path_infos)
        self.infos = [self._info(name, below.split()) for name, below in references.items()]
        self.path_infos.put_many(self.infos)

    def _info(self, name: str, references: Iterable[str]) -> PathInfo:
        node = FileNode(self.store.blobs.put(name.encode()), len(name), False)
        size, digest = self.path_infos.calculate_nar(node)
        return PathInfo(path(name), node, size, digest, references=tuple(sorted(path(reference) for reference in references)))

    def closure(self, *names: str) -> set[str]:
        return {found.name for found in closure(self.path_infos, [path(name) for name in names])}


def test_everything_that_is_referred_to() -> None:
    graph = Graph(a="b c", b="d", c="d", d="", e="a")
    assert graph.closure("a") == {"a", "b", "c", "d"}
    assert graph.closure("b", "c") == {"b", "c", "d"}
    assert graph.closure() == set()


def test_a_reference_to_itself_and_circles_end() -> None:
    graph = Graph(a="a b", b="c", c="b")
    assert graph.closure("a") == {"a", "b", "c"}


def test_paths_ascend() -> None:
    graph = Graph(a="b c", b="d", c="d", d="")
    found = list(closure(graph.path_infos, [path("a")]))
    assert found == sorted(found)
    assert [str(one) for one in found] == sorted(str(one) for one in found)


def test_one_round_trip_a_level() -> None:
    graph = Graph(top=" ".join(f"m{n}" for n in range(50)), **{f"m{n}": "leaf" for n in range(50)}, leaf="")
    graph.path_infos.trips = 0
    assert len(graph.closure("top")) == 52
    assert graph.path_infos.trips == 3


def test_a_path_that_is_not_there() -> None:
    graph = Graph(a="")
    with pytest.raises(PathNotFound, match=str(path("z"))):
        graph.closure("a", "z")
    with pytest.raises(PathNotFound) as refused:
        path_info_of(graph.path_infos, path("z"))
    assert refused.value.exit_code == 66


def test_a_reference_that_is_not_there_names_who_refers_to_it() -> None:
    graph = Graph(a="b", b="z")
    with pytest.raises(MissingReference, match=f"{path('b')} refers to {path('z')}"):
        graph.closure("a")


def test_the_right_digest_under_another_name_is_not_it() -> None:
    graph = Graph(a="")
    with pytest.raises(PathNotFound):
        closure(graph.path_infos, [StorePath(path("a").digest, "renamed")])


def test_a_closure_root_is_a_directory_of_store_paths() -> None:
    graph = Graph(a="b", b="")
    root = closure_root(graph.store, [path("a")])
    (directory,) = graph.store.directories.get_many([root]).values()
    assert dict(directory.entries) == {Name(info.path.basename.encode()): info.node for info in graph.infos}
    assert Directory.decode(directory.encoded).digest == root


def test_a_closure_root_says_nothing_of_signatures() -> None:
    graph = Graph(a="")
    (info,) = graph.infos
    assert closure_directory([info]).digest == closure_directory([info._replace(registration_time=1)]).digest
    assert closure_directory([info]).digest == closure_root(graph.store, [path("a"), path("a")])
