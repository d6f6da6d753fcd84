"""Signed closure roots: what is signed, who is believed, and what is said where nobody is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvix.castore.digests import Digest, InvalidDigest, digest_of
from tvix.castore.protobuf import MalformedMessage
from tvix.errors import TvixError
from tvix.nix_compat.signatures import InvalidSignature, Signature, SigningKey
from tvix.nix_compat.store_path import InvalidStorePath, StorePath, StorePathDigest
from tvix.store.addresses import open_store
from tvix.store.closure_roots.codec import decode_signed_root, encode_signed_root
from tvix.store.closure_roots.interface import SIGNATURES_MAX, SignedRoot, merge_signatures
from tvix.store.closure_roots.trust import NoSignedRoot, UntrustedRoot, WrongRootSignature, trusted_root

PATH = StorePath(StorePathDigest(bytes(range(20))), "hello-2.10")
ROOT = digest_of(b"a root")
KEY = SigningKey.generate("site-1")
OTHER = SigningKey.generate("other")


@dataclass
class Roots:
    """A store that says whatever it is made to say."""

    signed: SignedRoot | None

    def get(self, _digest: StorePathDigest) -> SignedRoot | None:
        return self.signed

    def put(self, signed: SignedRoot) -> SignedRoot:
        raise NotImplementedError


def trusted(signed: SignedRoot | None, *keys: SigningKey) -> Digest:
    with open_store("memory:") as store:
        store.closure_roots = Roots(signed)
        return trusted_root(store, PATH, [key.verifying_key for key in keys])


def test_the_message_that_is_signed() -> None:
    expected = b"tvix-root;1;/nix/store/" + PATH.basename.encode() + b";blake3-"
    message = SignedRoot(PATH, ROOT).message
    assert message.startswith(expected)
    assert len(message) == len(expected) + 44


def test_a_root_that_a_trusted_key_signed() -> None:
    signed = SignedRoot(PATH, ROOT).signed_by(OTHER).signed_by(KEY)
    assert trusted(signed, KEY) == ROOT
    assert trusted(signed, SigningKey.generate("third"), OTHER) == ROOT


def test_one_wrong_signature_beside_a_right_one_does_no_harm() -> None:
    forged = SigningKey.generate(KEY.name)
    assert trusted(SignedRoot(PATH, ROOT).signed_by(forged).signed_by(KEY), KEY) == ROOT


def test_a_tampered_root_is_refused() -> None:
    signed = SignedRoot(PATH, ROOT).signed_by(KEY)._replace(root=digest_of(b"something else"))
    with pytest.raises(WrongRootSignature, match="bears the name of site-1, but the signature is wrong"):
        trusted(signed, KEY)


def test_another_key_of_the_same_name_is_refused() -> None:
    with pytest.raises(WrongRootSignature):
        trusted(SignedRoot(PATH, ROOT).signed_by(SigningKey.generate(KEY.name)), KEY)


def test_nobody_trusted_signed_it() -> None:
    with pytest.raises(UntrustedRoot, match="is signed by other, not by site-1"):
        trusted(SignedRoot(PATH, ROOT).signed_by(OTHER), KEY)


def test_without_trusted_keys_nothing_is_believed() -> None:
    with pytest.raises(UntrustedRoot, match="not by anybody"):
        trusted(SignedRoot(PATH, ROOT).signed_by(OTHER))


def test_the_signature_of_another_path_is_refused() -> None:
    signed = SignedRoot(PATH, ROOT).signed_by(KEY)
    with pytest.raises(NoSignedRoot, match="has one of /nix/store/"):
        trusted(signed._replace(path=StorePath(PATH.digest, "hello-2.11")), KEY)
    replayed = SignedRoot(StorePath(PATH.digest, "hello-2.9"), ROOT).signed_by(KEY)._replace(path=PATH)
    with pytest.raises(WrongRootSignature):
        trusted(replayed, KEY)


def test_no_root_and_no_signature() -> None:
    with pytest.raises(NoSignedRoot, match="the store has none"):
        trusted(None, KEY)
    with pytest.raises(NoSignedRoot, match="bears no signature"):
        trusted(SignedRoot(PATH, ROOT), KEY)
    with open_store("memory:") as store:
        store.closure_roots = None
        with pytest.raises(NoSignedRoot, match="keeps none"):
            trusted_root(store, PATH, [KEY.verifying_key])


def test_more_signatures_than_may_be() -> None:
    signed = SignedRoot(PATH, ROOT)
    for number in range(SIGNATURES_MAX + 10):
        signed = merge_signatures(signed, signed._replace(signatures=(Signature(f"k{number}", bytes(64)),)))
    assert len(signed.signatures) == SIGNATURES_MAX
    assert signed.signatures[-1].name == f"k{SIGNATURES_MAX + 9}"
    assert decode_signed_root(encode_signed_root(signed)) == signed
    message = encode_signed_root(signed) + encode_signed_root(signed)
    with pytest.raises(MalformedMessage, match="signatures"):
        decode_signed_root(message)


def test_it_outlives_the_process_and_a_lost_index(tmp_path: Path) -> None:
    signed = SignedRoot(PATH, ROOT).signed_by(KEY)
    keys = bytes(44)
    with open_store(f"pack:{tmp_path}") as store:
        assert store.closure_roots is not None
        assert store.hot_sets is not None
        store.closure_roots.put(signed._replace(root=digest_of(b"older")))
        store.closure_roots.put(signed)
        store.hot_sets.put_hot_set(ROOT, "", bytes(88))
        store.hot_sets.put_hot_set(ROOT, "", keys)
    for index in tmp_path.glob("index.lmdb*"):
        index.unlink()
    with open_store(f"pack:{tmp_path}") as store:
        assert store.closure_roots is not None
        assert store.hot_sets is not None
        assert store.closure_roots.get(PATH.digest) == signed
        assert store.hot_sets.get_hot_set(ROOT, "") == keys


names = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs", "Z", "C"]), min_size=1, max_size=9).filter(
    lambda name: not any(character.isspace() for character in name)
)
signatures = st.builds(Signature, names, st.binary(min_size=64, max_size=64))


@given(st.lists(signatures, max_size=5, unique=True), st.binary(min_size=32, max_size=32))
def test_what_is_encoded_is_decoded(found: list[Signature], root: bytes) -> None:
    signed = SignedRoot(PATH, Digest(root), tuple(found))
    assert decode_signed_root(encode_signed_root(signed)) == signed


@given(st.binary(max_size=200))
def test_garbage_is_refused_in_our_words(garbage: bytes) -> None:
    with pytest.raises((MalformedMessage, InvalidStorePath, InvalidDigest, InvalidSignature)) as caught:
        decode_signed_root(garbage)
    assert isinstance(caught.value, TvixError)
