"""Hashes in every form, and what is no hash."""

from __future__ import annotations

import pytest

from tvix.nix_compat.hashes import DIGEST_BYTES, Form, Hash, InvalidHash, hash_of, make_hash, parse_hash

# The hash of "abc" in each algorithm, as FIPS 180 and RFC 1321 print it.
ABC = {
    "md5": "900150983cd24fb0d6963f7d28e17f72",
    "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sha512": "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    "blake3": "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
}
SHA256 = Hash("sha256", bytes.fromhex(ABC["sha256"]))
FORMS: list[Form] = ["hex", "nixbase32", "base64", "sri"]


@pytest.mark.parametrize("algorithm", DIGEST_BYTES)
def test_the_hash_of_abc(algorithm: str) -> None:
    assert hash_of(algorithm, b"abc").print("hex") == ABC[algorithm]


@pytest.mark.parametrize("algorithm", DIGEST_BYTES)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_back(algorithm: str, form: Form) -> None:
    value = make_hash(algorithm, bytes.fromhex(ABC[algorithm]))
    assert parse_hash(value.print(form, prefixed=True)) == value
    assert parse_hash(value.print(form), algorithm) == value


def test_the_forms_of_one_hash() -> None:
    assert SHA256.print("sri") == "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
    assert SHA256.print("base64", prefixed=True) == "sha256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
    assert SHA256.print("nixbase32") == "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"
    assert str(SHA256) == "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"


@pytest.mark.parametrize(
    "text",
    [
        "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0",
        "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0==",
        "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
    ],
)
def test_what_stock_nix_takes_too_is_read(text: str) -> None:
    assert parse_hash(text) == SHA256


@pytest.mark.parametrize(
    ("text", "algorithm", "reason"),
    [
        ("", None, "doesn't say which algorithm"),
        (ABC["sha256"], None, "doesn't say which algorithm"),
        ("sha3:" + ABC["sha256"], None, "no algorithm 'sha3'"),
        ("SHA256:" + ABC["sha256"], None, "no algorithm 'SHA256'"),
        (":" + ABC["sha256"], None, "no algorithm ''"),
        ("md5:" + ABC["md5"], "sha256", "it is md5 where sha256 is wanted"),
        ("sha256:" + ABC["sha1"], None, "40 characters are no form of 32 bytes"),
        ("sha256:", None, "0 characters are no form of 32 bytes"),
        ("sha256:" + "g" * 64, None, "Non-hexadecimal"),
        ("sha256: " + "0" * 63, None, "Non-hexadecimal"),
        ("sha256:" + "e" * 52, None, "'e' at position 0 is not a digit"),
        ("sha256:" + "z" * 52, None, "its value takes more than 32 bytes"),
        ("sha256-" + "!" * 44, None, "base64"),
        ("sha256:" + "!" * 43 + "=", None, "base64"),
        ("sha256-AAAA", None, "it has 3 bytes instead of 32"),
        ("sha256-", None, "it has 0 bytes instead of 32"),
        ("sha256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa==", None, "it has 31 bytes instead of 32"),
        ("sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAF\u00e90=", None, "ASCII"),
    ],
)
def test_what_is_no_hash_is_refused_with_the_reason(text: str, algorithm: str | None, reason: str) -> None:
    with pytest.raises(InvalidHash) as caught:
        parse_hash(text, algorithm)
    assert reason in str(caught.value)


def test_a_digest_of_the_wrong_length_or_algorithm_makes_no_hash() -> None:
    with pytest.raises(InvalidHash, match="a sha256 digest has 32 bytes, not 20"):
        make_hash("sha256", bytes(20))
    with pytest.raises(InvalidHash, match="no such algorithm"):
        make_hash("crc32", bytes(4))
    with pytest.raises(InvalidHash, match="no such algorithm"):
        hash_of("shake_128", b"")
