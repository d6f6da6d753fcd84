"""Signatures are checked the same by both libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from tvix.nix_compat import ed25519

# RFC 8032, section 7.1, test 3.
KEY = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
MESSAGE = bytes.fromhex("af82")
SIGNATURE = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


@pytest.fixture(params=["libsodium", "openssl"])
def verify(request: pytest.FixtureRequest) -> ed25519.Verify:
    return ed25519.verifier() if request.param == "libsodium" else ed25519.openssl()


def test_the_right_one(verify: ed25519.Verify) -> None:
    assert verify(KEY, MESSAGE, SIGNATURE)


@pytest.mark.parametrize("at", range(0, 64, 9))
def test_a_changed_bit_of_the_signature(verify: ed25519.Verify, at: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[at] ^= 1
    assert not verify(KEY, MESSAGE, bytes(changed))


def test_another_message_or_key(verify: ed25519.Verify) -> None:
    assert not verify(KEY, MESSAGE + b"\0", SIGNATURE)
    assert not verify(KEY, b"", SIGNATURE)
    assert not verify(crypto_sign_seed_keypair(bytes(32))[0], MESSAGE, SIGNATURE)


def test_a_key_that_is_no_point(verify: ed25519.Verify) -> None:
    assert not verify(b"\2" + bytes(31), MESSAGE, SIGNATURE)


def test_messages_of_any_length(verify: ed25519.Verify) -> None:
    public, secret = crypto_sign_seed_keypair(bytes(range(32)))
    for message in (b"", b"\0", bytes(1000)):
        assert verify(public, message, crypto_sign(message, secret)[:64])


def test_openssl_is_taken_where_libsodium_is_missing() -> None:
    code = (
        "import sys; sys.modules['nacl'] = None\n"
        "from tvix.nix_compat import ed25519\n"
        f"verify = ed25519.verifier(); print(verify({KEY!r}, {MESSAGE!r}, {SIGNATURE!r}), verify({KEY!r}, b'', {SIGNATURE!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True False\n"
