"""What holds for every input: each format reads back what it printed, and takes nothing that it wouldn't print."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvix.errors import TvixError
from tvix.nix_compat import nixbase32
from tvix.nix_compat.content_address import ContentAddress, parse_content_address
from tvix.nix_compat.hashes import DIGEST_BYTES, Form, Hash, InvalidHash, parse_hash
from tvix.nix_compat.nar.errors import InvalidNar
from tvix.nix_compat.nar.reader import read_nar
from tvix.nix_compat.nar.writer import NarWriter
from tvix.nix_compat.narinfo import NarInfo, parse_narinfo
from tvix.nix_compat.signatures import Signature, fingerprint, parse_signature
from tvix.nix_compat.store_path import (
    NAME_CHARACTERS,
    InvalidStorePath,
    StorePath,
    StorePathDigest,
    check_store_path_name,
    compress_hash,
    parse_basename,
    parse_store_path,
)
from tvix.testing.tree_strategies import trees
from tvix.testing.trees import Tree, visit_tree

hashes = st.sampled_from(sorted(DIGEST_BYTES)).flatmap(
    lambda algorithm: st.binary(min_size=DIGEST_BYTES[algorithm], max_size=DIGEST_BYTES[algorithm]).map(
        lambda digest: Hash(algorithm, digest)
    )
)
sha256_hashes = st.binary(min_size=32, max_size=32).map(lambda digest: Hash("sha256", digest))
names = st.text(NAME_CHARACTERS, min_size=1, max_size=211).filter(lambda name: name.partition("-")[0] not in (".", ".."))
paths = st.builds(StorePath, st.binary(min_size=20, max_size=20).map(StorePathDigest), names)
addresses = st.one_of(
    st.builds(ContentAddress, st.sampled_from(["flat", "nar"]), hashes), st.builds(ContentAddress, st.just("text"), sha256_hashes)
)
signatures = st.builds(Signature, st.text("abcz019.-_", min_size=1), st.binary(min_size=64, max_size=64))
FORMS: list[Form] = ["hex", "nixbase32", "base64", "sri"]


def slow_nixbase32(raw: bytes) -> str:
    """Digit by digit, as the definition has it."""
    digits = []
    for position in reversed(range((len(raw) * 8 + 4) // 5)):
        byte, shift = divmod(position * 5, 8)
        value = raw[byte] >> shift | (raw[byte + 1] << (8 - shift) if byte + 1 < len(raw) else 0)
        digits.append(nixbase32.ALPHABET[value & 31])
    return "".join(digits)


@given(st.binary(max_size=80))
def test_nixbase32_is_what_its_definition_says_and_reads_back(raw: bytes) -> None:
    text = nixbase32.encode(raw)
    assert text == slow_nixbase32(raw)
    assert nixbase32.decode(text) == raw


@given(st.one_of(st.text(nixbase32.ALPHABET, max_size=60), st.text(max_size=60), st.text("01_+- az\n", max_size=8)))
def test_nixbase32_takes_nothing_that_it_would_not_print(text: str) -> None:
    try:
        raw = nixbase32.decode(text)
    except nixbase32.InvalidNixBase32:
        return
    assert nixbase32.encode(raw) == text


@given(hashes, st.sampled_from(FORMS))
def test_every_form_of_a_hash_reads_back(value: Hash, form: Form) -> None:
    assert parse_hash(value.print(form, prefixed=True)) == value
    assert parse_hash(value.print(form), value.algorithm) == value
    assert base64.b64decode(value.print("base64")) == bytes.fromhex(value.print("hex")) == value.digest


@given(st.one_of(st.text(), st.text("sha1256md5-:=0aA/+ \n", max_size=70)), st.sampled_from([None, *DIGEST_BYTES]))
def test_any_text_is_a_hash_or_refused(text: str, algorithm: str | None) -> None:
    try:
        value = parse_hash(text, algorithm)
    except InvalidHash:
        return
    assert parse_hash(value.print("sri")) == value


@given(paths)
def test_store_paths_read_back(path: StorePath) -> None:
    assert parse_store_path(str(path)) == parse_basename(path.basename) == parse_basename(path.basename.encode()) == path
    assert check_store_path_name(path.name) == path.name


@given(st.one_of(st.text(), st.from_regex(r"[0-9a-z]{31,33}-[a-z./ é-]{0,4}"), st.binary()))
def test_any_text_is_a_basename_or_refused(text: str | bytes) -> None:
    try:
        path = parse_basename(text)
    except InvalidStorePath:
        return
    assert path.basename == (text if isinstance(text, str) else text.decode())


@given(st.lists(paths))
def test_paths_sort_as_their_texts_do(unsorted: list[StorePath]) -> None:
    assert list(map(str, sorted(unsorted))) == sorted(map(str, unsorted))
    listed = ",".join(sorted(set(map(str, unsorted))))
    assert fingerprint(StorePath(StorePathDigest(bytes(20)), "x"), bytes(32), 1, unsorted).decode().split(";")[-1] == listed


@given(st.binary(max_size=70), st.integers(1, 30))
def test_folding_is_what_its_definition_says(digest: bytes, size: int) -> None:
    folded = bytearray(size)
    for index, byte in enumerate(digest):
        folded[index % size] ^= byte
    assert compress_hash(digest, size) == folded


@given(addresses)
def test_content_addresses_read_back(address: ContentAddress) -> None:
    assert parse_content_address(str(address)) == address


@given(signatures)
def test_signatures_read_back(signature: Signature) -> None:
    assert parse_signature(str(signature)) == signature


@given(
    st.builds(
        NarInfo,
        path=paths,
        url=st.text("abc/.?=%", min_size=1),
        nar_hash=sha256_hashes,
        nar_size=st.integers(1, 2**64 - 1),
        compression=st.sampled_from(["none", "xz", "zstd", "bzip2"]),
        file_hash=st.none() | hashes,
        file_size=st.none() | st.integers(0, 2**64 - 1),
        references=st.lists(paths, max_size=5).map(tuple),
        deriver=st.none() | paths,
        signatures=st.lists(signatures, max_size=3).map(tuple),
        content_address=st.none() | addresses,
        unknown=st.lists(st.tuples(st.sampled_from(["X", "Other"]), st.text("a: b", max_size=5)), max_size=2).map(tuple),
    )
)
def test_narinfos_read_back(info: NarInfo) -> None:
    assert parse_narinfo(str(info), "it") == info


@given(st.sampled_from([parse_hash, parse_store_path, parse_content_address, parse_signature]), st.text())
def test_any_text_is_parsed_or_refused_with_an_error_of_ours(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(TvixError):
        parse(text + "!")


@given(st.binary(max_size=400) | st.text("StorePath: NarHashSizeURL\n/nix0-").map(str.encode))
def test_any_bytes_are_a_narinfo_or_refused(text: bytes) -> None:
    with pytest.raises(TvixError):
        parse_narinfo(text, "it")


def written(tree: Tree) -> bytes:
    output = io.BytesIO()
    writer = NarWriter(output.write)
    visit_tree(tree, writer)
    writer.close()
    return output.getvalue()


def copied(nar: bytes, sizes: list[int]) -> bytes:
    """What the writer makes of what the reader tells it, the bytes coming in pieces of `sizes`, over and over."""
    source, output = io.BytesIO(nar), io.BytesIO()
    writer = NarWriter(output.write)
    calls = iter(range(1 << 62))
    assert read_nar(lambda wanted: source.read(min(wanted, sizes[next(calls) % len(sizes)])), writer) == len(nar)
    writer.close()
    return output.getvalue()


@given(trees, st.lists(st.integers(1, 100_000), min_size=1, max_size=4))
def test_a_nar_is_read_as_it_was_written_however_it_arrives(tree: Tree, sizes: list[int]) -> None:
    nar = written(tree)
    assert copied(nar, sizes) == nar


@given(trees, st.data())
def test_a_damaged_nar_is_refused_or_is_the_canonical_one_of_another_tree(tree: Tree, data: st.DataObject) -> None:
    nar = bytearray(written(tree))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(nar) - 1))
        cut = data.draw(st.sampled_from([0, 1, 8, 16]))
        nar[at : at + cut] = data.draw(
            st.sampled_from([b"", b"\0", b"\x01", b"/", bytes(8), b"\xff" * 8, b"\x01\0\0\0\0\0\0\0)\0\0\0\0\0\0\0"])
        )
        if not nar:
            break
    try:
        copy = copied(bytes(nar), [1 << 20])
    except InvalidNar as error:
        offset = error.fields["offset"]
        assert isinstance(offset, int)
        assert 0 <= offset <= len(nar)
        return
    assert copy == nar
