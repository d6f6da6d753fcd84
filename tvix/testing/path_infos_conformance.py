"""What every store of path infos is held to. A back end's module says `from tvix.testing.path_infos_conformance import *` and gives
the fixture `store`, an empty `Store` whose path infos are under test."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from tvix.castore.digests import Digest
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name, Node, SymlinkNode
from tvix.nix_compat.content_address import ContentAddress
from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.signatures import Signature
from tvix.nix_compat.store_path import StorePath, StorePathDigest, source_path
from tvix.store.completeness import IncompleteRoot
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.merge import ConflictingPathInfo
from tvix.store.store import Store

ABSENT = StorePathDigest(bytes(range(20)))
DERIVER = StorePath(StorePathDigest(b"d" * 20), "thing.drv")


def signature(key: str) -> Signature:
    return Signature(key, sha256(key.encode()).digest() * 2)


def file_node(store: Store, contents: bytes, executable: bool = False) -> FileNode:
    return FileNode(store.blobs.put(contents), len(contents), executable)


def tree_node(store: Store) -> DirectoryNode:
    """A tree with one of everything."""
    leaf = Directory.of([(Name(b"run"), file_node(store, b"#!/bin/sh\n", True)), (Name(b"empty"), file_node(store, b""))])
    root = Directory.of(
        [(Name(b"bin"), leaf.node), (Name(b"link"), SymlinkNode(b"bin/run")), (Name(b"read me"), file_node(store, b"text"))]
    )
    store.directories.put([leaf, root])
    return root.node


def info_of(store: Store, node: Node, name: str = "thing") -> PathInfo:
    """A true path info of what is in `store`, named after its NAR."""
    size, digest = store.path_infos.calculate_nar(node)
    path = source_path(name, digest)
    return PathInfo(path, node, size, digest, content_address=ContentAddress("nar", Hash("sha256", digest)))


def addressed(info: PathInfo, name: str = "built", digest: bytes = b"b" * 20) -> PathInfo:
    """The same under a path that doesn't follow from the contents, as build outputs have."""
    return info._replace(path=StorePath(StorePathDigest(digest), name), content_address=None)


@pytest.fixture
def info(store: Store) -> PathInfo:
    return info_of(store, file_node(store, b"Hello World!"))


def put(store: Store, info: PathInfo) -> PathInfo:
    (stored,) = store.path_infos.put_many([info])
    return stored


def get(store: Store, path: StorePath) -> PathInfo | None:
    return store.path_infos.get_many([path.digest]).get(path.digest)


def test_an_unknown_path_is_left_out_not_an_error(store: Store) -> None:
    assert store.path_infos.get_many([ABSENT]) == {}


def test_asking_for_nothing_gives_nothing(store: Store) -> None:
    assert store.path_infos.get_many([]) == {}
    assert store.path_infos.put_many([]) == []


def test_what_was_put_is_found(store: Store, info: PathInfo) -> None:
    assert put(store, info) == info
    assert get(store, info.path) == info


def test_many_are_asked_for_at_once(store: Store) -> None:
    infos = [info_of(store, file_node(store, b"%d" % number), f"n{number}") for number in range(30)]
    assert store.path_infos.put_many(infos) == infos
    found = store.path_infos.get_many([ABSENT, *(info.path.digest for info in infos)])
    assert found == {info.path.digest: info for info in infos}


def test_every_field_is_kept(store: Store) -> None:
    leaf = info_of(store, file_node(store, b"a library"), "lib")
    tree = addressed(info_of(store, tree_node(store)))
    full = tree._replace(
        references=tuple(sorted([leaf.path, tree.path])),
        signatures=(signature("a-1"), signature("b-1")),
        deriver=DERIVER,
    )
    store.path_infos.put_many([leaf, full])
    assert get(store, full.path) == full


@pytest.mark.parametrize("target", [b"x", b"/nix/store/elsewhere", b"\xff\xfe"])
def test_a_symlink_can_be_a_root(store: Store, target: bytes) -> None:
    info = info_of(store, SymlinkNode(target))
    put(store, info)
    assert get(store, info.path) == info


@pytest.mark.parametrize("executable", [False, True])
def test_a_file_can_be_a_root(store: Store, executable: bool) -> None:
    info = info_of(store, file_node(store, b"program", executable))
    put(store, info)
    assert get(store, info.path) == info


def test_an_empty_file_can_be_a_root(store: Store) -> None:
    info = info_of(store, file_node(store, b""))
    put(store, info)
    assert get(store, info.path) == info


def test_an_empty_directory_can_be_a_root(store: Store) -> None:
    empty = Directory.of([])
    store.directories.put([empty])
    info = info_of(store, empty.node)
    put(store, info)
    assert get(store, info.path) == info


def test_the_same_again_changes_nothing(store: Store, info: PathInfo) -> None:
    put(store, info)
    assert put(store, info) == info
    assert list(store.path_infos.list()) == [info]


def test_signatures_add_up(store: Store, info: PathInfo) -> None:
    put(store, info._replace(signatures=(signature("a-1"),)))
    stored = put(store, info._replace(signatures=(signature("b-1"), signature("a-1"))))
    assert set(stored.signatures) == {signature("a-1"), signature("b-1")}
    assert len(stored.signatures) == 2
    assert get(store, info.path) == stored


def test_a_path_info_without_signatures_takes_none_away(store: Store, info: PathInfo) -> None:
    signed = info._replace(signatures=(signature("a-1"),))
    put(store, signed)
    assert put(store, info) == signed


def test_a_deriver_that_is_learnt_later_is_kept(store: Store, info: PathInfo) -> None:
    put(store, info)
    put(store, info._replace(deriver=DERIVER))
    found = get(store, info.path)
    assert found is not None
    assert found.deriver == DERIVER


def test_another_root_for_a_path_is_refused(store: Store, info: PathInfo) -> None:
    first = addressed(info)
    put(store, first)
    other = addressed(info_of(store, file_node(store, b"something else")))
    with pytest.raises(ConflictingPathInfo) as refused:
        put(store, other)
    assert refused.value.exit_code == 77
    assert get(store, first.path) == first


def test_other_references_for_a_path_are_refused(store: Store, info: PathInfo) -> None:
    first = addressed(info)
    put(store, first)
    with pytest.raises(ConflictingPathInfo):
        put(store, first._replace(references=(first.path,)))
    assert get(store, first.path) == first


def test_another_name_under_the_same_digest_is_refused(store: Store, info: PathInfo) -> None:
    first = addressed(info)
    put(store, first)
    with pytest.raises(ConflictingPathInfo):
        put(store, first._replace(path=StorePath(first.path.digest, "renamed")))


def test_two_paths_may_have_the_same_contents(store: Store, info: PathInfo) -> None:
    twin = addressed(info)
    store.path_infos.put_many([info, twin])
    assert get(store, info.path) == info
    assert get(store, twin.path) == twin


def test_the_same_path_twice_in_one_call_is_merged(store: Store, info: PathInfo) -> None:
    one, two = info._replace(signatures=(signature("a-1"),)), info._replace(signatures=(signature("b-1"),))
    store.path_infos.put_many([one, two])
    found = get(store, info.path)
    assert found is not None
    assert set(found.signatures) == {signature("a-1"), signature("b-1")}


def test_list_says_everything_once(store: Store) -> None:
    assert list(store.path_infos.list()) == []
    infos = [info_of(store, file_node(store, b"%d" % number), f"n{number}") for number in range(12)]
    store.path_infos.put_many(infos)
    listed = list(store.path_infos.list())
    assert sorted(info.path for info in listed) == sorted(info.path for info in infos)
    assert {info.path: info for info in listed} == {info.path: info for info in infos}


def test_putting_while_listing_is_harmless(store: Store, info: PathInfo) -> None:
    put(store, info)
    listing: Iterator[PathInfo] = iter(store.path_infos.list())
    assert next(listing) == info
    put(store, info_of(store, file_node(store, b"later"), "later"))
    assert all(isinstance(more, PathInfo) for more in listing)


def test_the_nar_of_a_file(store: Store) -> None:
    assert store.path_infos.calculate_nar(file_node(store, b"Hello World!")).size == 128


def test_the_nar_of_a_symlink(store: Store) -> None:
    assert store.path_infos.calculate_nar(SymlinkNode(b"/nix/store/somewhereelse")).size == 136


def test_the_nar_of_a_tree(store: Store) -> None:
    hello = Directory.of([(Name(b"hello"), file_node(store, b"#!/bin/sh\necho hi\n", True))])
    root = Directory.of(
        [(Name(b"bin"), hello.node), (Name(b"link"), SymlinkNode(b"bin/hello")), (Name(b"readme"), file_node(store, b"text"))]
    )
    store.directories.put([hello, root])
    assert root.digest.hex() == "f2b05de7bd5f6b1ba0c2fb01cf508004d57c1214d267d01642fb30456e21a9c3"
    summary = store.path_infos.calculate_nar(root.node)
    assert summary.size == 896
    assert summary.sha256.hex() == "778632e64beea15fbfeb350234667bbb7aca8f7f4b0b589419a5846d34b6cd6a"


def test_the_nar_of_something_absent_is_an_error(store: Store) -> None:
    nowhere = Digest(sha256(b"never stored").digest())
    with pytest.raises(IncompleteRoot):
        store.path_infos.calculate_nar(DirectoryNode(nowhere, 2))
    with pytest.raises(IncompleteRoot):
        store.path_infos.calculate_nar(FileNode(nowhere, 3, False))


def test_threads_may_share_it(store: Store) -> None:
    infos = [info_of(store, file_node(store, b"%d" % number), f"n{number}") for number in range(8)]
    signed = [info._replace(signatures=(signature(f"k-{key}"),)) for info in infos for key in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda info: store.path_infos.put_many([info]), signed))
    found = store.path_infos.get_many([info.path.digest for info in infos])
    assert [len(found[info.path.digest].signatures) for info in infos] == [4] * len(infos)


def test_sync_and_close_keep_what_was_put(store: Store, info: PathInfo) -> None:
    put(store, info)
    store.sync()
    assert get(store, info.path) == info
