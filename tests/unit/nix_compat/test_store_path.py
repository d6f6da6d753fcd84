"""Store paths, against those that stock Nix computed."""

from __future__ import annotations

import pickle
from hashlib import sha256

import pytest

from tvix.nix_compat.content_address import ContentAddress, parse_content_address
from tvix.nix_compat.hashes import Hash, hash_of
from tvix.nix_compat.store_path import (
    InvalidStorePath,
    InvalidStorePathName,
    StorePath,
    UnfitContentAddress,
    check_store_path_name,
    compress_hash,
    fixed_path,
    output_path,
    parse_basename,
    parse_store_path,
    placeholder,
    source_path,
    split_store_path,
    store_path_digest,
    text_path,
)

MIXED = "/nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafl6-mixed"
MIXED_NAR = bytes.fromhex("778632e64beea15fbfeb350234667bbb7aca8f7f4b0b589419a5846d34b6cd6a")


def test_a_path_is_parsed_and_printed() -> None:
    path = parse_store_path(MIXED)
    assert (len(path.digest), path.name) == (20, "mixed")
    assert (str(path), path.basename) == (MIXED, MIXED.removeprefix("/nix/store/"))
    assert parse_basename(path.basename) == parse_basename(path.basename.encode()) == path
    assert pickle.loads(pickle.dumps(path)) == path


def test_a_path_inside_is_split() -> None:
    path = parse_store_path(MIXED)
    assert split_store_path(MIXED) == (path, "")
    assert split_store_path(MIXED + "/bin/hello") == (path, "bin/hello")
    assert split_store_path(MIXED + "/") == (path, "")
    with pytest.raises(InvalidStorePath, match="begin with"):
        split_store_path("/usr/bin/env")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "doesn't begin with /nix/store/"),
        ("/nix/store", "doesn't begin with /nix/store/"),
        ("nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafl6-mixed", "doesn't begin with"),
        ("/nix/store/", "no dash after 32"),
        ("/nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafl6", "no dash after 32"),
        ("/nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafl6-", "nothing is there"),
        ("/nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafl-mixed", "no dash after 32"),
        ("/nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafle-mixed", "'e' at position 31 is not a digit"),
        ("/nix/store/NNL8mdmxig2sspcg9sjzqmj70y9zafl6-mixed", "'N' at position 0 is not a digit"),
        (MIXED + "/bin", "'/' is not allowed"),
        (MIXED + "\n", "'\\n' is not allowed"),
        (MIXED + "\0", "'\\x00' is not allowed"),
        (MIXED.replace("mixed", "mïxed"), "'ï' is not allowed"),
        (MIXED.replace("mixed", ".."), "'..'"),
        ("/nix/store//" + MIXED[11:], "no dash after 32"),
    ],
)
def test_what_is_no_store_path_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidStorePath) as caught:
        parse_store_path(text)
    assert reason in str(caught.value)
    assert repr(text) in str(caught.value)


def test_bytes_that_are_not_ascii_are_no_basename() -> None:
    with pytest.raises(InvalidStorePath):
        parse_basename(b"nnl8mdmxig2sspcg9sjzqmj70y9zafl6-caf\xc3\xa9")
    with pytest.raises(InvalidStorePath):
        parse_basename(b"\xffnl8mdmxig2sspcg9sjzqmj70y9zafl6-x")


# Nix 2.26.3 takes the first list and refuses the second (tests/compat holds both against it).
@pytest.mark.parametrize("name", ["a", "A-Z", "+-._?=0", ".x", "...", "..x", ".gitignore", "-", "x" * 211])
def test_names_that_a_store_path_may_have(name: str) -> None:
    assert check_store_path_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".-", ".-x", "..-x", "..-", "x" * 212, "a b", "a/b", "a,b", "a\n", "é", "\0", "a~", "a@b"]
)
def test_names_that_no_store_path_may_have(name: str) -> None:
    with pytest.raises(InvalidStorePathName):
        check_store_path_name(name)


def test_paths_sort_as_their_texts_do() -> None:
    paths = [StorePath(store_path_digest(sha256(bytes([n])).digest()[:20]), name) for n in range(50) for name in ("b", "a")]
    assert list(map(str, sorted(paths))) == sorted(map(str, paths))
    low, high = sorted(paths)[:2]
    assert low < high
    assert high > low
    assert low <= high
    assert high >= low
    assert not low < low


def test_a_source_path() -> None:
    assert str(source_path("mixed", MIXED_NAR)) == MIXED
    address = parse_content_address("fixed:r:sha256:0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp")
    assert str(fixed_path("mixed", address)) == MIXED


def test_fixed_paths_that_nix_computed() -> None:
    flat = ContentAddress("flat", hash_of("sha256", b"abc"))
    assert str(fixed_path("abc.txt", flat)) == "/nix/store/dim6ck98h1xpn4m1pa24kfxcd1vg9m22-abc.txt"
    recursive = ContentAddress("nar", hash_of("sha1", b"abc"))
    assert str(fixed_path("abc", recursive)) == "/nix/store/p8w4yck7kvwd2q01ah357qq5qhcvv0c2-abc"


def test_references_and_self_reference_change_a_source_path_in_no_order() -> None:
    one, two = source_path("one", MIXED_NAR), source_path("two", MIXED_NAR)
    plain = source_path("x", MIXED_NAR)
    both = source_path("x", MIXED_NAR, [one, two])
    assert both == source_path("x", MIXED_NAR, [two, one, two])
    assert len({plain, both, source_path("x", MIXED_NAR, [one]), source_path("x", MIXED_NAR, [one, two], self_reference=True)}) == 4


def test_only_some_kinds_can_have_references() -> None:
    reference = source_path("one", MIXED_NAR)
    for address in (ContentAddress("flat", hash_of("sha256", b"")), ContentAddress("nar", hash_of("sha1", b""))):
        with pytest.raises(UnfitContentAddress):
            fixed_path("x", address, [reference])
        with pytest.raises(UnfitContentAddress):
            fixed_path("x", address, self_reference=True)
    text = ContentAddress("text", hash_of("sha256", b"hello"))
    assert fixed_path("x", text, [reference]) == text_path("x", text.hash.digest, [reference])
    with pytest.raises(UnfitContentAddress):
        fixed_path("x", text, self_reference=True)


def test_an_output_other_than_out_shows_in_the_name() -> None:
    digest = sha256(b"modulo").digest()
    assert output_path("hello", digest).name == "hello"
    assert output_path("hello", digest, "dev").name == "hello-dev"
    assert output_path("hello", digest).digest != output_path("hello", digest, "dev").digest


def test_a_computed_path_has_a_name_that_can_be() -> None:
    with pytest.raises(InvalidStorePathName):
        source_path("a b", MIXED_NAR)
    with pytest.raises(InvalidStorePathName):
        output_path("x" * 210, MIXED_NAR, "dev")


def test_placeholders() -> None:
    assert placeholder("out") == "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"
    assert placeholder("") == "/171rf4jhx57xqz3p7swniwkig249cif71pa08p80mgaf0mqz5bmr"


def test_folding_a_hash() -> None:
    assert compress_hash(bytes(range(32))) == bytes(n ^ (n + 20) if n < 12 else n for n in range(20))
    assert compress_hash(bytes(20)) == bytes(20)
    assert compress_hash(b"\x01\x02\x03", 2) == b"\x02\x02"


def test_a_digest_has_twenty_bytes() -> None:
    with pytest.raises(InvalidStorePath, match="32 bytes instead of 20"):
        store_path_digest(bytes(32))


@pytest.mark.parametrize(
    "text", ["text:sha256:", "fixed:sha256:", "fixed:r:sha256:", "fixed:r:sha1:", "fixed:md5:", "fixed:sha512:"]
)
def test_content_addresses_are_read_back(text: str) -> None:
    algorithm = text.split(":")[-2]
    address = parse_content_address(text + hash_of(algorithm, b"").print("hex"))
    assert address.hash == hash_of(algorithm, b"")
    assert str(address) == text + hash_of(algorithm, b"").print("nixbase32")
    assert parse_content_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither"),
        ("sha256:" + "0" * 64, "neither"),
        ("fixed:" + "0" * 64, "the algorithm and its colon are missing"),
        ("text:sha1:" + "0" * 40, "texts are hashed with sha256, not sha1"),
        ("fixed:r:sha256:" + "0" * 63, "63 characters"),
        ("fixed:x:" + "0" * 64, "no algorithm 'x'"),
        ("fixed:git:sha1:" + "0" * 40, "no algorithm 'git'"),
    ],
)
def test_what_is_no_content_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(Exception, match=reason) as caught:
        parse_content_address(text)
    assert type(caught.value).__name__ == "InvalidContentAddress"


def test_a_hash_is_its_own_kind_of_tuple() -> None:
    assert Hash("sha1", bytes(20)) == ("sha1", bytes(20))
