"""Path infos near and far as one, held to the suite, and to what only a decorator can promise."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from tvix.castore.blobs.interface import StoreUnavailable
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.addresses import open_store
from tvix.store.near_far import near_far
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.merge import ConflictingPathInfo
from tvix.store.path_infos.near_far import NearFarPathInfoService
from tvix.store.store import Store
from tvix.testing.path_infos_conformance import *  # noqa: F403
from tvix.testing.path_infos_conformance import ABSENT, addressed, file_node, get, info_of, put, signature, tree_node


@pytest.fixture
def near() -> Store:
    return open_store("memory:")


@pytest.fixture
def far() -> Store:
    return open_store("memory:")


@pytest.fixture
def store(near: Store, far: Store) -> Store:
    return near_far(near, far, "memory: (far)")


class Away:
    """A far end that can't be reached."""

    def get_many(self, digests: Collection[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        raise StoreUnavailable(origin="far", reason=f"asked for {len(digests)}")


def test_what_is_far_is_found_and_kept_near(store: Store, near: Store, far: Store) -> None:
    info = info_of(far, tree_node(far))
    put(far, info)
    assert get(store, info.path) == info
    assert get(near, info.path) == info


def test_a_batch_may_be_near_and_far(store: Store, near: Store, far: Store) -> None:
    here, there = info_of(near, file_node(near, b"near"), "near"), info_of(far, file_node(far, b"far"), "far")
    put(near, here)
    put(far, there)
    found = store.path_infos.get_many([here.path.digest, there.path.digest, ABSENT])
    assert found == {here.path.digest: here, there.path.digest: there}


def test_that_something_is_absent_is_not_remembered(store: Store, far: Store) -> None:
    info = info_of(far, file_node(far, b"later"))
    assert get(store, info.path) is None
    put(far, info)
    assert get(store, info.path) == info


def test_what_is_put_goes_near_alone(store: Store, near: Store, far: Store, info: PathInfo) -> None:
    put(store, info)
    assert get(near, info.path) == info
    assert get(far, info.path) is None


def test_what_is_far_can_not_be_contradicted_near(store: Store, far: Store) -> None:
    first = addressed(info_of(far, file_node(far, b"first")))
    put(far, first)
    with pytest.raises(ConflictingPathInfo):
        put(store, addressed(info_of(store, file_node(store, b"second"))))
    assert get(store, first.path) == first


def test_signatures_put_near_join_those_from_far(store: Store, far: Store) -> None:
    info = info_of(far, file_node(far, b"signed"))
    put(far, info._replace(signatures=(signature("far-1"),)))
    stored = put(store, info._replace(signatures=(signature("near-1"),)))
    assert {one.name for one in stored.signatures} == {"far-1", "near-1"}


def test_what_is_near_is_found_when_far_is_away(near: Store) -> None:
    info = info_of(near, file_node(near, b"near"))
    put(near, info)
    service = NearFarPathInfoService(near.path_infos, Away())  # type: ignore[arg-type]
    assert service.get_many([info.path.digest]) == {info.path.digest: info}
    with pytest.raises(StoreUnavailable):
        service.get_many([ABSENT])


def test_list_says_what_is_on_both_ends_once(store: Store, near: Store, far: Store) -> None:
    both = info_of(near, file_node(near, b"both"), "both")
    file_node(far, b"both")
    only = info_of(far, file_node(far, b"only"), "only")
    put(near, both)
    far.path_infos.put_many([both, only])
    assert sorted(info.path.name for info in store.path_infos.list()) == ["both", "only"]


def test_a_nar_is_hashed_where_its_tree_is(store: Store, near: Store, far: Store) -> None:
    """A tree that is far alone is hashed there: no blob travels for a hash."""
    node = tree_node(far)
    assert store.path_infos.calculate_nar(node) == far.path_infos.calculate_nar(node)
    assert near.directories.missing([node.digest]) == {node.digest}
