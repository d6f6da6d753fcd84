"""The published PathInfo message: what is written, what is read back, what is refused."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tvix.castore.digests import digest_of
from tvix.castore.entry import decode_entry, encode_entry
from tvix.castore.nodes import DirectoryNode, FileNode, Node, SymlinkNode
from tvix.castore.protobuf import bytes_field, message_field, varint_field
from tvix.errors import TvixError
from tvix.nix_compat.content_address import ContentAddress
from tvix.nix_compat.hashes import DIGEST_BYTES, Hash
from tvix.nix_compat.signatures import Signature
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.path_info import PathInfo
from tvix.store.path_info_codec import InvalidPathInfo, decode_path_info, encode_path_info

PATH = StorePath(StorePathDigest(b"p" * 20), "hello-1.0")
LIBRARY = StorePath(StorePathDigest(b"l" * 20), "glibc-2.36")
NAR_SHA256 = sha256(b"nar").digest()
FILE = FileNode(digest_of(b"x"), 1, False)
BARE = PathInfo(PATH, FILE, 120, NAR_SHA256)
FULL = BARE._replace(
    references=tuple(sorted([PATH, LIBRARY])),
    signatures=(Signature("cache-1", b"s" * 64), Signature("own-1", b"t" * 64)),
    deriver=StorePath(StorePathDigest(b"d" * 20), "hello-1.0.drv"),
    content_address=ContentAddress("nar", Hash("sha256", NAR_SHA256)),
)


def message(
    *,
    entry: bytes | None = None,
    references: tuple[bytes, ...] = (),
    names: tuple[str, ...] = (),
    sha256_: bytes = NAR_SHA256,
    more: bytes = b"",
) -> bytes:
    """A message built by hand, so that it can be wrong."""
    nar_info = varint_field(1, 120) + bytes_field(2, sha256_) + b"".join(message_field(4, name.encode()) for name in names) + more
    root = encode_entry(PATH.basename.encode(), FILE) if entry is None else entry
    return message_field(1, root) + b"".join(message_field(2, digest) for digest in references) + message_field(3, nar_info)


@pytest.mark.parametrize("info", [BARE, FULL], ids=["bare", "full"])
def test_round_trip(info: PathInfo) -> None:
    encoded = encode_path_info(info)
    assert decode_path_info(encoded) == info
    assert encode_path_info(decode_path_info(encoded)) == encoded


@pytest.mark.parametrize(
    "node",
    [DirectoryNode(digest_of(b""), 0), DirectoryNode(digest_of(b"d"), 300), FileNode(digest_of(b""), 0, True), SymlinkNode(b"t")],
)
def test_entries_round_trip_with_and_without_a_name(node: Node) -> None:
    assert decode_entry(encode_entry(b"", node)) == (b"", node)
    assert decode_entry(encode_entry(b"name", node)) == (b"name", node)


def test_the_bytes_are_those_of_the_published_message() -> None:
    deriver = message_field(5, bytes_field(1, b"hello-1.0") + bytes_field(2, b"d" * 20))
    signatures = message_field(3, b"\x0a\x07cache-1\x12\x40" + b"s" * 64) + message_field(3, b"\x0a\x05own-1\x12\x40" + b"t" * 64)
    first, second = FULL.references
    names = b"".join(b"\x22" + bytes([len(path.basename)]) + path.basename.encode() for path in (first, second))
    nar_info = b"\x08\x78\x12\x20" + NAR_SHA256 + signatures + names + deriver + b"\x32\x22\x12\x20" + NAR_SHA256
    body = b"\x0a" + bytes([len(PATH.basename)]) + PATH.basename.encode() + b"\x12\x20" + FILE.digest + b"\x18\x01"
    entry = b"\x12" + bytes([len(body)]) + body
    expected = message_field(1, entry) + b"\x12\x14" + first.digest + b"\x12\x14" + second.digest + message_field(3, nar_info)
    assert encode_path_info(FULL) == expected


@pytest.mark.parametrize(
    ("number", "method", "algorithm"),
    [
        (0, "nar", "sha256"),
        (1, "nar", "sha1"),
        (2, "nar", "sha512"),
        (3, "nar", "md5"),
        (4, "text", "sha256"),
        (5, "flat", "sha1"),
        (6, "flat", "md5"),
        (7, "flat", "sha256"),
        (8, "flat", "sha512"),
    ],
)
def test_every_kind_of_content_address(number: int, method: str, algorithm: str) -> None:
    digest = b"c" * DIGEST_BYTES[algorithm]
    info = decode_path_info(message(more=message_field(6, varint_field(1, number) + bytes_field(2, digest))))
    assert info.content_address == ContentAddress(method, Hash(algorithm, digest))  # type: ignore[arg-type]
    assert decode_path_info(encode_path_info(info)) == info


def test_references_are_put_into_order() -> None:
    first, second = FULL.references
    backwards = message(references=(second.digest, first.digest), names=(second.basename, first.basename))
    assert decode_path_info(backwards).references == (first, second)


def test_unknown_fields_are_left_aside() -> None:
    assert decode_path_info(message(more=bytes_field(77, b"later")) + bytes_field(9, b"later")) == BARE


def test_the_registration_time_stays_at_home() -> None:
    assert encode_path_info(BARE._replace(registration_time=1700000000)) == encode_path_info(BARE)


WRONG = {
    "nothing": (b"", "no root node"),
    "no narinfo": (message_field(1, encode_entry(PATH.basename.encode(), FILE)), "narinfo is missing"),
    "a root that is no entry": (message(entry=b"\x1a\x03\x12\x01x" * 2), "exactly one of"),
    "a root without a name": (message(entry=encode_entry(b"", FILE)), "without a name"),
    "a root whose name is no store path": (message(entry=encode_entry(b"hello", FILE)), "hello"),
    "a root with a short digest": (
        message(entry=message_field(2, bytes_field(1, PATH.basename.encode()) + bytes_field(2, b"short"))),
        "5 bytes",
    ),
    "a short NAR hash": (message(sha256_=b"short"), "nar_sha256 has 5 bytes"),
    "no NAR hash": (message(sha256_=b""), "nar_sha256 has 0 bytes"),
    "a short reference": (message(references=(b"short",), names=(LIBRARY.basename,)), "5 bytes instead of 20"),
    "references without names": (message(references=(LIBRARY.digest,)), "1 references have 0 names"),
    "names without references": (message(names=(LIBRARY.basename,)), "0 references have 1 names"),
    "a reference under another name": (message(references=(PATH.digest,), names=(LIBRARY.basename,)), "has another digest"),
    "a reference twice": (message(references=(PATH.digest,) * 2, names=(PATH.basename,) * 2), "twice"),
    "a reference that is no store path": (message(references=(PATH.digest,), names=("x",)), "'x'"),
    "a short signature": (
        message(more=message_field(3, bytes_field(1, b"key") + bytes_field(2, b"short"))),
        "signature has 5 bytes",
    ),
    "a signature of nobody": (message(more=message_field(3, bytes_field(2, b"s" * 64))), "key name is empty"),
    "a key name that is no text": (message(more=message_field(3, bytes_field(1, b"\xff") + bytes_field(2, b"s" * 64))), "UTF-8"),
    "a deriver with .drv": (message(more=message_field(5, bytes_field(1, b"a.drv") + bytes_field(2, b"d" * 20))), "with .drv"),
    "a deriver of the wrong length": (message(more=message_field(5, bytes_field(1, b"a") + bytes_field(2, b"d" * 19))), "19 bytes"),
    "a deriver that can't be named so": (message(more=message_field(5, bytes_field(1, b"a b") + bytes_field(2, b"d" * 20))), "' '"),
    "a ca of the wrong length": (message(more=message_field(6, bytes_field(2, b"short"))), "sha256 has 5 bytes"),
    "a ca of an unknown type": (message(more=message_field(6, varint_field(1, 9) + bytes_field(2, b"c" * 32))), "unknown type 9"),
    "a cut message": (message()[:-1], "longer than the message"),
    "a number where narinfo belongs": (message(more=b"\x10\x01"), "wrong type"),
}


@pytest.mark.parametrize(("encoded", "reason"), WRONG.values(), ids=WRONG)
def test_what_breaks_a_rule_is_refused(encoded: bytes, reason: str) -> None:
    with pytest.raises(InvalidPathInfo) as refused:
        decode_path_info(encoded)
    assert reason in str(refused.value)
    assert refused.value.exit_code == 65


@pytest.mark.parametrize("cut", range(1, len(encode_path_info(FULL)), 7))
def test_a_cut_message_is_never_a_traceback(cut: int) -> None:
    with pytest.raises(TvixError):
        decode_path_info(encode_path_info(FULL)[:-cut])


def test_what_has_no_place_is_not_written() -> None:
    with pytest.raises(InvalidPathInfo, match="blake3"):
        encode_path_info(BARE._replace(content_address=ContentAddress("nar", Hash("blake3", b"c" * 32))))
    with pytest.raises(InvalidPathInfo, match="not a derivation"):
        encode_path_info(BARE._replace(deriver=LIBRARY))
