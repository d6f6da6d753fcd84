"""`tvix.trusted-key` on the kernel command line."""

from __future__ import annotations

import base64

import pytest

from appliance.boot.contract import InvalidCommandLine, parse

KEYS = [f"site-{number}:{base64.b64encode(bytes([number]) * 32).decode()}" for number in range(2)]  # the same in every worker
LINE = "tvix.store=tvix+tcp://10.0.2.2:8001 tvix.closure=/nix/store/abc tvix.find"


def test_a_closure_may_be_trusted_by_key() -> None:
    parsed = parse(f"{LINE} tvix.trusted-key={KEYS[0]}")
    assert (parsed.closure, parsed.root, parsed.trusted_keys) == ("/nix/store/abc", None, (KEYS[0],))


def test_several_keys_stand_between_quotes() -> None:
    assert parse(f'{LINE} tvix.trusted-key="{KEYS[0]} {KEYS[1]}"').trusted_keys == tuple(KEYS)


def test_of_two_the_last_counts() -> None:
    assert parse(f"{LINE} tvix.trusted-key={KEYS[0]} tvix.trusted-key={KEYS[1]}").trusted_keys == (KEYS[1],)


def test_without_one_there_is_none() -> None:
    assert parse(f"{LINE} tvix.trust=any").trusted_keys == ()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("tvix.trusted-key=site-1", "tvix.trusted-key=site-1 is not a public key"),
        ("tvix.trusted-key=site-1:", "is not a public key"),
        ("tvix.trusted-key=site-1:AAAA", "is not a public key"),
        (f"tvix.trusted-key=:{KEYS[0].partition(':')[2]}", "is not a public key"),
        (f"tvix.trusted-key={KEYS[0]} tvix.trust=any", "each say what to believe"),
        (f"tvix.trusted-key={KEYS[0]}=", "is not a public key"),
        ("tvix.trusted-key", "tvix.trusted-key needs a value"),
        ("tvix.trusted-keys=x", r"did you mean tvix.trusted-key\?"),
    ],
)
def test_what_is_refused(words: str, says: str) -> None:
    with pytest.raises(InvalidCommandLine, match=says):
        parse(f"{LINE} {words}")


def test_a_pinned_root_needs_no_key() -> None:
    line = f"tvix.store=memory: tvix.root=blake3-{'A' * 43}= tvix.find tvix.trusted-key={KEYS[0]}"
    with pytest.raises(InvalidCommandLine, match=r"goes with tvix\.closure"):
        parse(line)
