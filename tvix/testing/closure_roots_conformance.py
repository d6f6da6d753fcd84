"""What every store of signed closure roots is held to. A back end's module says
`from tvix.testing.closure_roots_conformance import *` and gives the fixture `store`, an empty `Store` that keeps them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from tvix.castore.digests import Digest
from tvix.castore.directory import Directory
from tvix.castore.nodes import Name, SymlinkNode
from tvix.nix_compat.signatures import Signature
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.closure_roots.interface import ClosureRootService, SignedRoot
from tvix.store.store import Store

PATH = StorePath(StorePathDigest(bytes(range(20))), "hello-2.10")
OTHER_PATH = StorePath(StorePathDigest(bytes(20)), "hello-2.11")


def signature(name: str) -> Signature:
    return Signature(name, sha256(name.encode()).digest() * 2)


def stored_root(store: Store, target: bytes = b"one") -> Digest:
    return store.directories.put([Directory.of([(Name(PATH.basename.encode()), SymlinkNode(target))])])


def roots_of(store: Store) -> ClosureRootService:
    assert store.closure_roots is not None
    return store.closure_roots


def test_there_is_none_at_first(store: Store) -> None:
    assert roots_of(store).get(PATH.digest) is None


def test_what_is_put_comes_back(store: Store) -> None:
    signed = SignedRoot(PATH, stored_root(store), (signature("one"),))
    assert roots_of(store).put(signed) == signed
    assert roots_of(store).get(PATH.digest) == signed
    assert roots_of(store).get(OTHER_PATH.digest) is None


def test_the_same_root_merges_signatures(store: Store) -> None:
    root = stored_root(store)
    roots_of(store).put(SignedRoot(PATH, root, (signature("one"),)))
    both = SignedRoot(PATH, root, (signature("one"), signature("two")))
    assert roots_of(store).put(SignedRoot(PATH, root, (signature("two"),))) == both
    assert roots_of(store).put(SignedRoot(PATH, root, (signature("one"),))) == both
    assert roots_of(store).get(PATH.digest) == both


def test_another_root_replaces_it_and_its_signatures(store: Store) -> None:
    roots_of(store).put(SignedRoot(PATH, stored_root(store), (signature("one"),)))
    other = SignedRoot(PATH, stored_root(store, b"two"), (signature("two"),))
    assert roots_of(store).put(other) == other
    assert roots_of(store).get(PATH.digest) == other


def test_signatures_from_many_at_once_are_all_kept(store: Store) -> None:
    root = stored_root(store)
    names = [f"key-{number}" for number in range(16)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: roots_of(store).put(SignedRoot(PATH, root, (signature(name),))), names))
    found = roots_of(store).get(PATH.digest)
    assert found is not None
    assert {kept.name for kept in found.signatures} == set(names)
