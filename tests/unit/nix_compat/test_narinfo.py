"""narinfos: one that a cache served, one with every line, and what is none."""

from __future__ import annotations

import pytest

from tvix.nix_compat.narinfo import InvalidNarInfo, NarInfo, parse_narinfo
from tvix.nix_compat.signatures import SigningKey
from tvix.nix_compat.store_path import parse_store_path

# As a bridge of the field served it (inventory of the field, section 11).
SERVED = f"""\
StorePath: /nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafl6-mixed
URL: nar/snix-castore/CiQSIPKwXee9X2sboML7Ac9QgATVfBIU0mfQFkL7MEVuIanDGAg?narsize=896
Compression: none
FileSize: 896
NarHash: sha256:0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp
NarSize: 896
References:{" "}
CA: fixed:r:sha256:0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp
"""

FULL = """\
StorePath: /nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafl6-mixed
URL: nar/0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp.nar.xz
Compression: xz
FileHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s
FileSize: 300
NarHash: sha256:0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp
NarSize: 896
References: 00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60 nnl8mdmxig2sspcg9sjzqmj70y9zafl6-mixed
Deriver: 00bgd045z0d4icpbc2yyz4gx48ak44la-mixed.drv
Sig: a-1:5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw==
Sig: b-1:5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw==
CA: fixed:r:sha256:0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp
X-New: kept
"""


@pytest.mark.parametrize("text", [SERVED, FULL])
def test_it_prints_as_it_was_read(text: str) -> None:
    assert str(parse_narinfo(text, "it")) == text
    assert parse_narinfo(text.encode(), "it") == parse_narinfo(text, "it")


def test_what_the_lines_say() -> None:
    info = parse_narinfo(FULL, "it")
    assert str(info.path) == "/nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafl6-mixed"
    assert (info.compression, info.file_size, info.nar_size) == ("xz", 300, 896)
    assert info.nar_hash.digest.hex() == "778632e64beea15fbfeb350234667bbb7aca8f7f4b0b589419a5846d34b6cd6a"
    assert [path.name for path in info.references] == ["net-tools-1.60", "mixed"]
    assert info.deriver is not None
    assert info.deriver.name == "mixed.drv"
    assert [signature.name for signature in info.signatures] == ["a-1", "b-1"]
    assert info.content_address is not None
    assert info.content_address.method == "nar"
    assert info.unknown == (("X-New", "kept"),)


def test_lines_may_come_in_any_order_and_most_may_be_absent() -> None:
    assert parse_narinfo("".join(sorted(FULL.splitlines(keepends=True))), "it") == parse_narinfo(FULL, "it")
    lines = SERVED.splitlines(keepends=True)
    info = parse_narinfo("".join(lines[index] for index in (5, 4, 1, 0)), "it")
    assert (info.compression, info.references, info.deriver, info.signatures) == ("bzip2", (), None, ())
    assert parse_narinfo(SERVED + "Deriver: unknown-deriver\n", "it").deriver is None


def test_sizes_go_up_to_64_bits() -> None:
    assert parse_narinfo(SERVED.replace("NarSize: 896", f"NarSize: {2**64 - 1}"), "it").nar_size == 2**64 - 1


def test_references_may_be_empty_without_the_blank() -> None:
    assert parse_narinfo(SERVED.replace("References: \n", "References:\n"), "it") == parse_narinfo(SERVED, "it")


def test_what_was_signed_verifies_until_a_field_changes() -> None:
    key = SigningKey.generate("k-1")
    info = parse_narinfo(FULL, "it")
    signature = key.sign(info.fingerprint())
    assert key.verifying_key.verify(parse_narinfo(FULL, "it").fingerprint(), signature)
    for old, new in (
        ("NarSize: 896", "NarSize: 897"),
        ("-mixed\nURL", "-mixee\nURL"),
        ("net-tools", "net-fools"),
        ("0sndnqs6v1", "0sndnqs6v2"),
    ):
        changed = parse_narinfo(FULL.replace(old, new), "it")
        assert not key.verifying_key.verify(changed.fingerprint(), signature)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("StorePath: ", "Store: ", "the line StorePath is missing"),
        ("URL: ", "Url: ", "the line URL is missing"),
        ("NarHash: ", "narHash: ", "the line NarHash is missing"),
        ("NarSize: 896\n", "", "the line NarSize is missing"),
        ("NarSize: 896\n", "NarSize: 896\nNarSize: 896\n", "in line 8, NarSize comes twice"),
        ("CA: ", "References: \nCA: ", "in line 12, References comes twice"),
        ("NarSize: 896", "NarSize: 0", "in line 7, no NAR has 0 bytes"),
        ("NarSize: 896", "NarSize: -1", "in line 7, '-1' is not a size in bytes"),
        ("NarSize: 896", "NarSize: 18446744073709551616", "is not a size in bytes"),
        ("NarSize: 896", "NarSize: 8_9", "is not a size in bytes"),
        ("NarSize: 896", "NarSize: ٣", "is not a size in bytes"),
        ("NarSize: 896", "NarSize:896", "in line 7, 'NarSize:896' is not KEY: VALUE"),
        ("FileSize: 300", "FileSize: 3e2", "in line 5"),
        ("URL: nar/0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp.nar.xz", "URL: ", "in line 2, the value is empty"),
        ("NarHash: sha256:0", "NarHash: sha1:0", "it is sha1 where sha256 is wanted"),
        ("NarHash: sha256:0s", "NarHash: sha256:0", "51 characters are no form of 32 bytes"),
        ("/nix/store/nnl8", "/gnu/store/nnl8", "in line 1"),
        ("00bgd045z0d4icpbc2yyz4gx48ak44la-net", "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net", "in line 8"),
        ("Deriver: 00", "Deriver: ", "in line 9"),
        ("Sig: a-1:5", "Sig: a-1:", "in line 10"),
        ("Sig: b-1:", "Sig: ", "in line 11"),
        ("CA: fixed:r:", "CA: fixed:q:", "in line 12"),
        ("X-New: kept\n", "X-New: kept", "in line 13, it ends inside a line"),
        ("X-New: kept\n", "\n", "in line 13, '' is not KEY: VALUE"),
        ("X-New: kept", "<html>", "in line 13, '<html>' is not KEY: VALUE"),
    ],
)
def test_what_is_no_narinfo_is_refused_with_the_line_and_the_reason(old: str, new: str, reason: str) -> None:
    assert old in FULL
    with pytest.raises(InvalidNarInfo) as caught:
        parse_narinfo(FULL.replace(old, new, 1), "https://cache.example.org/x.narinfo")
    assert reason in str(caught.value)
    assert "https://cache.example.org/x.narinfo" in str(caught.value)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(InvalidNarInfo, match="byte 3 is not UTF-8"):
        parse_narinfo(b"abc\xff", "it")
    with pytest.raises(InvalidNarInfo, match="the line StorePath is missing"):
        parse_narinfo(b"", "it")


def test_the_least_that_can_be_made_prints_and_reads() -> None:
    full = parse_narinfo(FULL, "it")
    least = NarInfo(path=parse_store_path(str(full.path)), url="nar/x", nar_hash=full.nar_hash, nar_size=1)
    assert parse_narinfo(str(least), "it") == least
