"""A path info that says anything untrue is refused with an error that says what, and nothing of it is stored."""

from __future__ import annotations

from hashlib import md5, sha1, sha256, sha512

import pytest

from tvix.castore.digests import digest_of
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name, Node, SymlinkNode
from tvix.errors import TvixError
from tvix.nix_compat.content_address import ContentAddress, Method
from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.nixbase32 import encode
from tvix.nix_compat.signatures import Signature
from tvix.nix_compat.store_path import StorePath, StorePathDigest, fixed_path, source_path, text_path
from tvix.store.addresses import open_store
from tvix.store.completeness import IncompleteRoot
from tvix.store.content_addressing import WrongContentAddress, WrongStorePath, blanked
from tvix.store.nar import nar_summary, render_nar
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.checking import CheckingPathInfoService, WrongNarHash, WrongNarSize
from tvix.store.path_infos.merge import ConflictingPathInfo
from tvix.store.store import Store

LIBRARY = StorePath(StorePathDigest(b"l" * 20), "library")


@pytest.fixture
def store() -> Store:
    inner = open_store("memory:")
    return Store(inner.blobs, inner.directories, CheckingPathInfoService(inner.path_infos, inner.blobs, inner.directories))


def file_node(store: Store, contents: bytes, executable: bool = False) -> FileNode:
    return FileNode(store.blobs.put(contents), len(contents), executable)


def built(store: Store, node: Node, name: str = "built") -> PathInfo:
    """A true path info under a path that says nothing of the contents."""
    summary = nar_summary(node, store.blobs, store.directories)
    return PathInfo(StorePath(StorePathDigest(b"b" * 20), name), node, summary.size, summary.sha256)


def addressed(store: Store, node: Node, method: Method, hash_: Hash, references: tuple[StorePath, ...] = ()) -> PathInfo:
    """The same, named after what is said of its contents."""
    content_address = ContentAddress(method, hash_)
    path = fixed_path("named", content_address, references)
    return built(store, node)._replace(path=path, content_address=content_address, references=references)


def refused(store: Store, info: PathInfo, error: type[TvixError]) -> str:
    with pytest.raises(error) as caught:
        store.path_infos.put_many([info])
    assert store.path_infos.get_many([info.path.digest]) == {}
    assert str(info.path) in str(caught.value) or error is IncompleteRoot
    return str(caught.value)


def test_what_is_true_is_stored(store: Store) -> None:
    info = built(store, file_node(store, b"x"))
    assert store.path_infos.put_many([info]) == [info]


def test_a_wrong_nar_hash(store: Store) -> None:
    info = built(store, file_node(store, b"x"))
    refused(store, info._replace(nar_sha256=sha256(b"other").digest()), WrongNarHash)


def test_a_wrong_nar_size(store: Store) -> None:
    info = built(store, file_node(store, b"x"))
    refused(store, info._replace(nar_size=info.nar_size + 8), WrongNarSize)


def test_a_root_that_is_not_there(store: Store) -> None:
    info = built(store, file_node(store, b"x"))
    refused(store, info._replace(node=FileNode(digest_of(b"absent"), 6, False)), IncompleteRoot)
    refused(store, info._replace(node=DirectoryNode(digest_of(b"absent"), 6)), IncompleteRoot)


def test_a_tree_that_lacks_a_blob(store: Store) -> None:
    directory = Directory.of([(Name(b"f"), FileNode(digest_of(b"absent"), 6, False))])
    store.directories.put([directory])
    info = built(store, file_node(store, b"x"))
    message = refused(store, info._replace(node=directory.node), IncompleteRoot)
    assert message.startswith("blob blake3-")


def test_what_is_incomplete_is_refused_before_anything_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(Name(b"a"), file_node(store, b"here")), (Name(b"b"), FileNode(digest_of(b"absent"), 6, False))]
    directory = Directory.of(entries)
    store.directories.put([directory])
    info = built(store, file_node(store, b"x"))._replace(node=directory.node)
    monkeypatch.setattr(store.blobs, "read_many", _unexpected)
    monkeypatch.setattr(store.blobs, "open", _unexpected)
    refused(store, info, IncompleteRoot)


def _unexpected(*_: object) -> None:
    raise AssertionError("contents were read")


def test_nothing_of_a_batch_is_stored_when_one_is_untrue(store: Store) -> None:
    true = built(store, file_node(store, b"x"))
    other = built(store, file_node(store, b"y"))._replace(path=LIBRARY, nar_size=1)
    with pytest.raises(WrongNarSize):
        store.path_infos.put_many([true, other])
    assert list(store.path_infos.list()) == []


@pytest.mark.parametrize(("algorithm", "hasher"), [("md5", md5), ("sha1", sha1), ("sha256", sha256), ("sha512", sha512)])
@pytest.mark.parametrize("method", ["flat", "nar"])
def test_content_addresses_that_hold_and_that_do_not(store: Store, method: Method, algorithm: str, hasher: type) -> None:
    node = file_node(store, b"contents")
    contents = b"contents" if method == "flat" else b"".join(bytes(p) for p in render_nar(node, store.blobs, store.directories))
    true = Hash(algorithm, hasher(contents).digest())
    info = addressed(store, node, method, true)
    assert store.path_infos.put_many([info]) == [info]
    lie = addressed(store, node, method, Hash(algorithm, hasher(b"other").digest()))
    assert str(ContentAddress(method, true)) in refused(store, lie, WrongContentAddress)


def test_texts(store: Store) -> None:
    digest = sha256(b"see library").digest()
    node = file_node(store, b"see library")
    info = addressed(store, node, "text", Hash("sha256", digest), (LIBRARY,))
    assert info.path == text_path("named", digest, [LIBRARY])
    assert store.path_infos.put_many([info]) == [info]


def test_only_a_plain_file_has_a_flat_hash(store: Store) -> None:
    for node in (file_node(store, b"x", True), SymlinkNode(b"x")):
        refused(store, addressed(store, node, "flat", Hash("sha256", sha256(b"x").digest())), WrongContentAddress)


def test_a_path_that_does_not_follow_from_the_address(store: Store) -> None:
    info = built(store, file_node(store, b"x"))
    expected = source_path(info.path.name, info.nar_sha256)
    lie = info._replace(content_address=ContentAddress("nar", Hash("sha256", info.nar_sha256)))
    assert str(expected) in refused(store, lie, WrongStorePath)


def test_references_are_part_of_an_addressed_path(store: Store) -> None:
    node = file_node(store, b"x")
    info = addressed(store, node, "nar", Hash("sha256", built(store, node).nar_sha256), (LIBRARY,))
    refused(store, info._replace(references=()), WrongStorePath)
    assert store.path_infos.put_many([info]) == [info]


def test_an_address_that_can_not_have_references(store: Store) -> None:
    node = file_node(store, b"x")
    info = addressed(store, node, "flat", Hash("sha256", sha256(b"x").digest()))
    refused(store, info._replace(references=(LIBRARY,)), WrongContentAddress)


def self_referring(store: Store) -> PathInfo:
    """A tree that holds its own path: the digest is that of the NAR with its own digest blanked."""
    blank = b"\0" * 32

    def node_with(digest: bytes) -> Node:
        return file_node(store, b"I am /nix/store/" + digest + b"-named")

    nar = b"".join(bytes(piece) for piece in render_nar(node_with(blank), store.blobs, store.directories))
    digest = sha256(nar + b"|%d" % nar.index(blank)).digest()
    path = source_path("named", digest, [], self_reference=True)
    node = node_with(encode(path.digest).encode())
    return built(store, node)._replace(path=path, references=(path,), content_address=ContentAddress("nar", Hash("sha256", digest)))


def test_a_tree_that_refers_to_itself(store: Store) -> None:
    info = self_referring(store)
    refused(store, info._replace(references=()), WrongStorePath)
    assert store.path_infos.put_many([info]) == [info]


@pytest.mark.parametrize("step", [1, 3, 31, 32, 33, 1000])
def test_blanking_finds_what_is_cut_between_pieces(step: int) -> None:
    needle = b"0123456789abcdfghijklmnpqrsvwxyz"
    contents = b"." * 40 + needle + needle + b"xyz" + needle[:31] + b"." + needle
    pieces = [contents[start : start + step] for start in range(0, len(contents), step)]
    positions = b"|40|72|139"
    assert b"".join(bytes(piece) for piece in blanked(pieces, needle)) == contents.replace(needle, bytes(32)) + positions


def test_signatures_are_added_without_reading_the_tree_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    info = built(store, file_node(store, b"x"))
    store.path_infos.put_many([info])

    monkeypatch.setattr(store.blobs, "read_many", _unexpected)
    monkeypatch.setattr(store.blobs, "open", _unexpected)
    signed = info._replace(signatures=(Signature("k", bytes(64)),))
    assert store.path_infos.put_many([signed]) == [signed]


def test_a_content_address_that_is_learnt_later_is_checked(store: Store) -> None:
    info = built(store, file_node(store, b"x"))
    store.path_infos.put_many([info])
    with pytest.raises(WrongStorePath):
        store.path_infos.put_many([info._replace(content_address=ContentAddress("nar", Hash("sha256", info.nar_sha256)))])
    assert store.path_infos.get_many([info.path.digest]) == {info.path.digest: info}


def test_another_root_is_a_conflict_not_a_wrong_hash(store: Store) -> None:
    store.path_infos.put_many([built(store, file_node(store, b"x"))])
    with pytest.raises(ConflictingPathInfo, match="another root") as refused_:
        store.path_infos.put_many([built(store, file_node(store, b"y"))])
    assert refused_.value.identifier == "store.conflicting-path-info"
