"""Signatures and keys, against ones that stock Nix made."""

from __future__ import annotations

import pickle

import pytest

from tvix.nix_compat.signatures import (
    InvalidKey,
    InvalidSignature,
    Signature,
    SigningKey,
    VerifyingKey,
    fingerprint,
    parse_signature,
)
from tvix.nix_compat.store_path import parse_store_path, source_path

DIGEST = bytes.fromhex("778632e64beea15fbfeb350234667bbb7aca8f7f4b0b589419a5846d34b6cd6a")
PATH = source_path("mixed", DIGEST)
# RFC 8032 §7.1, test 1: seed and public key, then the signature of nothing.
SECRET = "rfc-1:nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg=="
PUBLIC = "rfc-1:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
SIGNATURE_HEX = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)


def test_the_vector_of_the_rfc() -> None:
    key = SigningKey.parse(SECRET)
    assert str(key.verifying_key) == PUBLIC
    assert key.sign(b"").data.hex() == SIGNATURE_HEX
    assert VerifyingKey.parse(PUBLIC).verify(b"", Signature("rfc-1", bytes.fromhex(SIGNATURE_HEX)))
    assert key.secret_text() == SECRET


def test_a_fingerprint() -> None:
    other = parse_store_path("/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60")
    expected = (
        b"1;/nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafl6-mixed;sha256:0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp;896;"
    )
    assert fingerprint(PATH, DIGEST, 896, []) == expected
    references = b"/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60,/nix/store/nnl8mdmxig2sspcg9sjzqmj70y9zafl6-mixed"
    assert fingerprint(PATH, DIGEST, 896, [PATH, other, PATH]) == expected + references


def test_a_new_key_signs_and_verifies() -> None:
    key = SigningKey.generate("cache.example.org-1")
    message = fingerprint(PATH, DIGEST, 896, [])
    signature = key.sign(message)
    assert parse_signature(str(signature)) == signature
    verifying = VerifyingKey.parse(str(key.verifying_key))
    assert verifying.verify(message, signature)
    assert not verifying.verify(message + b"x", signature)
    assert not verifying.verify(message, signature._replace(name="another"))
    assert not SigningKey.generate("cache.example.org-1").verifying_key.verify(message, signature)
    assert SigningKey.parse(key.secret_text() + "\n").sign(message) == signature


def test_every_flipped_bit_of_a_signature_is_seen() -> None:
    key = SigningKey.parse(SECRET)
    signature = key.sign(b"message")
    for bit in range(512):
        flipped = (int.from_bytes(signature.data, "little") ^ (1 << bit)).to_bytes(64, "little")
        assert not key.verifying_key.verify(b"message", Signature("rfc-1", flipped))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no colon"),
        ("name", "no colon"),
        (":" + "A" * 86 + "==", "name is empty"),
        ("a b:" + "A" * 86 + "==", "blanks"),
        ("name:", "0 bytes instead of 64"),
        ("name:AAAA", "3 bytes instead of 64"),
        ("name:" + "A" * 88, "66 bytes instead of 64"),
        ("name:" + "!" * 88, "base 64"),
        ("name:" + "A" * 86, "base 64"),
        ("name:x:" + "A" * 86 + "==", "base 64"),
    ],
)
def test_what_is_no_signature_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidSignature) as caught:
        parse_signature(text)
    assert reason in str(caught.value)


def test_keys_of_the_wrong_kind_are_refused_and_no_secret_is_repeated() -> None:
    with pytest.raises(InvalidKey, match="not a public key: it has 64 bytes instead of 32") as caught:
        VerifyingKey.parse(SECRET)
    assert "nWGxne" not in str(caught.value)
    with pytest.raises(InvalidKey, match="not a secret key: it has 32 bytes instead of 64"):
        SigningKey.parse(PUBLIC)
    with pytest.raises(InvalidKey, match="don't belong together") as caught:
        SigningKey.parse("k:" + "A" * 86 + "==")
    assert "AAAA" not in str(caught.value)
    with pytest.raises(InvalidKey):
        SigningKey.generate("a:b")
    assert pickle.loads(pickle.dumps(caught.value)).fields == caught.value.fields


def test_a_secret_key_does_not_print_itself() -> None:
    assert repr(SigningKey.parse(SECRET)) == str(SigningKey.parse(SECRET)) == "SigningKey('rfc-1', <redacted>)"
