"""The directory codec: golden digests of the deployed daemons, and every way of not being canonical."""

from __future__ import annotations

import pytest

from tvix.castore.digests import InvalidDigest, digest_of, parse_digest, print_digest
from tvix.castore.directory import (
    Directory,
    InvalidDirectory,
    encode_directory_entry,
    encode_file_entry,
    encode_symlink_entry,
)
from tvix.castore.nodes import DirectoryNode, FileNode, InvalidName, InvalidTarget, Node, SymlinkNode, check_name, check_target
from tvix.castore.protobuf import encode_varint

EMPTY_BLOB = digest_of(b"")
D = digest_of(b"x")


def of(**entries: Node) -> Directory:
    return Directory.of([(check_name(name.encode()), node) for name, node in entries.items()])


A = of()
B = of(a=A.node)
DD = of(a=A.node, b=B.node)
E = of(d=DD.node)
WITH_KEEP = Directory.of([(check_name(b".keep"), FileNode(EMPTY_BLOB, 0, False))])
COMPLICATED = Directory.of(
    [
        (check_name(b"keep"), WITH_KEEP.node),
        (check_name(b".keep"), FileNode(EMPTY_BLOB, 0, False)),
        (check_name(b"aa"), SymlinkNode(b"/nix/store/somewhereelse")),
    ]
)
BIN = of(hello=FileNode(digest_of(b"#!/bin/sh\necho hi\n"), 18, True))
MIXED = of(bin=BIN.node, link=SymlinkNode(b"bin/hello"), readme=FileNode(digest_of(b"text"), 4, False))

GOLDEN = {
    "with keep": (WITH_KEEP, 2, None, "8b5b5d642b646bb8ed504b0862c39413e87e57491497de7bd075953f7b83810e"),
    "complicated": (COMPLICATED, 8, 119, "424a7f6ce08d805d15b428062faae96299a1675d708c3a39261afe38cdd04feb"),
    "a": (A, 0, 0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
    "b": (B, 2, None, "8701f4722d8dae7f2c40fa003331b8437a3825f9e1bfd3a77998c64cc226b9cc"),
    "d": (DD, 6, 80, "76cd8b55b37333961c1778ba997e57df92e219926ae5a66c414b810331a77603"),
    "e": (E, 8, 41, "333c798237cae53a66655761fa232338cc20d1ac45a08e519204eec0bc739103"),
    "mixed": (MIXED, 8, None, "f2b05de7bd5f6b1ba0c2fb01cf508004d57c1214d267d01642fb30456e21a9c3"),
    "mixed/bin": (BIN, 2, None, "c198f541ac713794047031d65d23002b2d09d17fb15b052587aa92f92538adda"),
}
# The same trees as the published text counts sizes: their digests differ as soon as a size stands in a parent.
PUBLISHED = {
    "complicated": "3f951a15afd586fb3121ef4d13d582e811ce0e5a7f21c0497fd87490e9e2355a",
    "d": "99922a5c1801805287a647af73bca0ed7352a5f7f373e54992795bcc4a235213",
    "e": "f71882b0f23c198c0fde9af0fb49d9cb797ce1db3a645fcf2760e955ab605d3e",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_digests_are_those_of_the_deployed_daemons(name: str) -> None:
    directory, size, length, digest = GOLDEN[name]
    assert directory.digest.hex() == digest
    assert directory.size == size
    assert length is None or len(directory.encoded) == length
    assert dict(Directory.decode(directory.encoded).entries) == dict(directory.entries)


def test_the_published_count_gives_the_published_digests() -> None:
    keep = DirectoryNode(WITH_KEEP.digest, WITH_KEEP.published_size)
    complicated = Directory.of({**COMPLICATED.entries, check_name(b"keep"): keep}.items())
    d = of(a=A.node, b=DirectoryNode(B.digest, B.published_size))
    e = of(d=DirectoryNode(d.digest, d.published_size))
    assert {"complicated": complicated.digest.hex(), "d": d.digest.hex(), "e": e.digest.hex()} == PUBLISHED
    assert (d.published_size, e.published_size) == (3, 4)


def test_entries_come_in_name_order_whatever_their_kind() -> None:
    assert list(MIXED.entries) == [b"bin", b"link", b"readme"]
    assert list(Directory.decode(MIXED.encoded).entries) == [b"bin", b"link", b"readme"]
    odd = of(z=A.node, a=SymlinkNode(b"t"), m=FileNode(D, 1, False))
    assert list(odd.entries) == list(Directory.decode(odd.encoded).entries) == [b"a", b"m", b"z"]


def test_built_says_what_decoded_says() -> None:
    encoded = encode_directory_entry(b"d", *B.node) + encode_file_entry(b"f", D, 3, True) + encode_symlink_entry(b"s", b"t")
    built = Directory.built(encoded, digest_of(encoded), 3, [B.node])
    decoded = Directory.decode(encoded)
    assert (built.size, built.children(), len(built)) == (decoded.size, decoded.children(), len(decoded))
    assert built.entries == decoded.entries


def raw_file(body: bytes) -> bytes:
    return b"\x12" + encode_varint(len(body)) + body


NAME = b"\x0a\x01f"
DIGEST = b"\x12\x20" + D
BAD = {
    "an unknown field": b"\x22\x00",
    "a field of another type": b"\x08\x01",
    "an unknown field after": MIXED.encoded + b"\x22\x00",
    "symlinks before files": encode_symlink_entry(b"a", b"t") + encode_file_entry(b"b", D, 1, False),
    "files before directories": encode_file_entry(b"a", D, 1, False) + encode_directory_entry(b"b", D, 0),
    "names descending": encode_file_entry(b"b", D, 1, False) + encode_file_entry(b"a", D, 1, False),
    "a name twice": encode_file_entry(b"a", D, 1, False) * 2,
    "a name in two kinds": encode_directory_entry(b"a", D, 0) + encode_file_entry(b"a", D, 1, False),
    "a name in the first and last kind": encode_directory_entry(b"a", D, 0) + encode_symlink_entry(b"a", b"t"),
    "no name": raw_file(DIGEST),
    "an empty name": raw_file(b"\x0a\x00" + DIGEST),
    "nothing": raw_file(b""),
    "a slash": encode_file_entry(b"a/b", D, 1, False),
    "a NUL": encode_file_entry(b"a\0b", D, 1, False),
    "dot": encode_file_entry(b".", D, 1, False),
    "dot dot": encode_directory_entry(b"..", D, 0),
    "a long name": encode_file_entry(b"n" * 256, D, 1, False),
    "no digest": raw_file(NAME),
    "a short digest": raw_file(NAME + b"\x12\x1f" + D[:31]),
    "a long digest": raw_file(NAME + b"\x12\x21" + D + b"x"),
    "a digest cut short": raw_file(NAME + b"\x12\x20" + D[:31]),
    "a size of zero that is said": raw_file(NAME + DIGEST + b"\x18\x00"),
    "a size in a longer form": raw_file(NAME + DIGEST + b"\x18\x81\x00"),
    "a size over 64 bits": raw_file(NAME + DIGEST + b"\x18" + b"\xff" * 9 + b"\x02"),
    "a size of eleven bytes": raw_file(NAME + DIGEST + b"\x18" + b"\x80" * 10 + b"\x01"),
    "a size cut short": raw_file(NAME + DIGEST + b"\x18\x80"),
    "not executable, said": raw_file(NAME + DIGEST + b"\x20\x00"),
    "executable twice": raw_file(NAME + DIGEST + b"\x20\x02"),
    "executable before size": raw_file(NAME + DIGEST + b"\x20\x01\x18\x01"),
    "a digest before the name": raw_file(DIGEST + NAME),
    "something after": raw_file(NAME + DIGEST + b"\x28\x01"),
    "a name twice in an entry": raw_file(NAME + NAME + DIGEST),
    "a size twice": raw_file(NAME + DIGEST + b"\x18\x01\x18\x01"),
    "an executable directory": b"\x0a" + encode_varint(len(NAME + DIGEST) + 2) + NAME + DIGEST + b"\x20\x01",
    "a symlink without a target": b"\x1a\x03" + NAME,
    "a symlink with an empty target": b"\x1a\x05" + NAME + b"\x12\x00",
    "a NUL in a target": encode_symlink_entry(b"a", b"t\0"),
    "a long target": encode_symlink_entry(b"a", b"t" * 4096),
    "something after a target": b"\x1a\x08" + NAME + b"\x12\x01t" + b"\x18\x01",
    "a target cut short": b"\x1a\x06" + NAME + b"\x12\x02t",
    "an entry cut short": MIXED.encoded[:-1],
    "a length without an end": b"\x12\xff",
    "a length in a longer form": b"\x12\xa5\x80\x00" + NAME + DIGEST,
    "a name's length in a longer form": raw_file(b"\x0a\x81\x00f" + DIGEST),
    "a name longer than its entry": raw_file(b"\x0a\x7ff" + DIGEST),
    "sizes over 64 bits": encode_directory_entry(b"a", D, (1 << 64) - 1) + encode_directory_entry(b"b", D, 1),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_canonical_is_refused(what: str) -> None:
    with pytest.raises(InvalidDirectory):
        _ = Directory.decode(BAD[what]).size


def test_every_cut_is_refused_or_is_a_directory_of_fewer_entries() -> None:
    whole = [encode_directory_entry(b"a", D, 7), encode_file_entry(b"b", D, 300, True), encode_symlink_entry(b"c", b"t" * 200)]
    borders = {0, len(whole[0]), len(whole[0] + whole[1])}
    encoded = b"".join(whole)
    for cut in range(len(encoded)):
        if cut in borders:
            Directory.decode(encoded[:cut])
        else:
            with pytest.raises(InvalidDirectory):
                Directory.decode(encoded[:cut])


def test_a_name_can_t_come_twice() -> None:
    with pytest.raises(InvalidDirectory):
        Directory.of([(check_name(b"a"), A.node), (check_name(b"a"), SymlinkNode(b"t"))])


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0", b"n" * 256])
def test_names_that_no_directory_can_hold(name: bytes) -> None:
    with pytest.raises(InvalidName):
        check_name(name)


@pytest.mark.parametrize("target", [b"", b"\0", b"t" * 4096])
def test_targets_that_no_symlink_can_have(target: bytes) -> None:
    with pytest.raises(InvalidTarget):
        check_target(target)


def test_digests_are_printed_and_parsed() -> None:
    text = "blake3-gxxoMf3JowmkxmzDyy+jdAoQDai4bW/obpukDetQqhk="
    assert print_digest(parse_digest(text)) == text
    assert parse_digest(parse_digest(text).hex()) == parse_digest(text) == digest_of(b"text")


@pytest.mark.parametrize(
    "text", ["", "blake3-", "blake3-AAAA", "xyz", "ab" * 31, "ab" * 33, "blake3-" + "A" * 43 + "!", "sha256-" + "A" * 43 + "="]
)
def test_other_texts_are_no_digests(text: str) -> None:
    with pytest.raises(InvalidDigest):
        parse_digest(text)
