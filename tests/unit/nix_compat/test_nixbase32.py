"""Nix's base 32, against digests that Nix printed."""

from __future__ import annotations

import pytest

from tvix.nix_compat import nixbase32

KNOWN = {
    "": "",
    "00": "00",
    "01": "01",
    "ff": "7z",
    "1f": "0z",
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad": "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
    "778632e64beea15fbfeb350234667bbb7aca8f7f4b0b589419a5846d34b6cd6a": "0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp",
}


@pytest.mark.parametrize(("hexadecimal", "text"), KNOWN.items())
def test_known_digests(hexadecimal: str, text: str) -> None:
    raw = bytes.fromhex(hexadecimal)
    assert nixbase32.encode(raw) == text
    assert nixbase32.decode(text) == raw
    assert nixbase32.encoded_length(len(raw)) == len(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0e", "'e' at position 1"),
        ("0E", "'E' at position 1"),
        ("AA", "'A' at position 0"),
        ("+1", "'+' at position 0"),
        ("1_1_", "'_' at position 1"),
        (" 0", "' ' at position 0"),
        ("0\n", "'\\n' at position 1"),
        ("é0", "'é' at position 0"),
        ("-0", "'-' at position 0"),
        ("0", "no number of bytes takes 1 characters"),
        ("000", "no number of bytes takes 3 characters"),
        ("80", "its value takes more than 1 bytes"),
        ("zz", "its value takes more than 1 bytes"),
        ("z" * 52, "its value takes more than 32 bytes"),
    ],
)
def test_what_is_not_nix_base_32_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(nixbase32.InvalidNixBase32) as caught:
        nixbase32.decode(text)
    assert reason in str(caught.value)
