"""The kernel command line: split as the kernel splits it, every key checked, every mistake named."""

from __future__ import annotations

import pytest

from appliance.boot import contract
from appliance.boot.contract import InvalidCommandLine, parse

ROOT = "tvix.root=blake3-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
STORE = "tvix.store=grpc+http://10.0.2.2:8000"
GOOD = f"{STORE} {ROOT}"


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("a b=c", [("a", None), ("b", "c")]),
        ('run="x y"  z=1\n', [("run", "x y"), ("z", "1")]),
        ('"run=x y" z', [("run", "x y"), ("z", None)]),
        ('a=b"c d"e', [("a", 'b"c d"e')]),
        ('a="b', [("a", "b")]),
        ("a= b==c", [("a", ""), ("b", "=c")]),
        ("", []),
    ],
)
def test_split_like_the_kernel(line: str, pairs: list[tuple[str, str | None]]) -> None:
    assert contract.split(line) == (pairs, [])


def test_what_follows_two_dashes_is_for_init() -> None:
    assert contract.split('a -- single "two words"') == ([("a", None)], ["single", "two words"])


def test_run_with_arguments() -> None:
    parsed = parse(f'console=ttyS0 quiet {GOOD} tvix.run="/nix/store/x/bin/hello -g hi" ip=dhcp')
    assert (parsed.action, parsed.argument) == ("tvix.run", "/nix/store/x/bin/hello -g hi")
    assert (parsed.store, parsed.closure, parsed.ip) == ("grpc+http://10.0.2.2:8000", None, "dhcp")
    assert parsed.root == ROOT.partition("=")[2]


def test_closure_with_trust() -> None:
    parsed = parse(f"{STORE} tvix.closure=/nix/store/abc tvix.trust=any init=/nix/store/abc/init -- 3")
    assert (parsed.root, parsed.closure) == (None, "/nix/store/abc")
    assert (parsed.action, parsed.argument, parsed.init_arguments) == ("init", "/nix/store/abc/init", ["3"])


@pytest.mark.parametrize(
    ("word", "action", "argument"),
    [("snix.find", "tvix.find", None), ("snix.shell", "tvix.shell", None), ("snix.run=/bin/x", "tvix.run", "/bin/x")],
)
def test_names_of_snix(word: str, action: str, argument: str | None) -> None:
    parsed = parse(f"{GOOD} {word}")
    assert (parsed.action, parsed.argument) == (action, argument)


def test_the_last_of_two_counts() -> None:
    assert parse(f"tvix.store=memory: {GOOD} tvix.find").store == "grpc+http://10.0.2.2:8000"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{GOOD} tvix.fnid", "tvix.fnid is not a key (did you mean tvix.find?)"),
        (f"{GOOD} snix.bogus-key-of-others", "snix.bogus-key-of-others is not a key"),
        (f"{GOOD} tvix.find=1", "tvix.find takes no value (it has '1')"),
        (f"{GOOD} tvix.run", 'tvix.run needs a value: tvix.run="PROGRAM ARGS"'),
        (f"{GOOD} tvix.run=hello", "tvix.run=hello does not name an absolute path"),
        (f'{GOOD} tvix.run="  "', "tvix.run=   does not name an absolute path"),
        (f"{GOOD} init=/sbin/init", "init=/sbin/init does not name a path in /nix/store"),
        (f"{GOOD} tvix.find tvix.shell", "tvix.shell and tvix.find each say what to do"),
        (GOOD, "nothing says what to do"),
        (f"{ROOT} tvix.find", "tvix.store=URL is missing"),
        (f"tvix.store=10.0.0.1 {ROOT} tvix.find", "tvix.store=10.0.0.1 is not a store URL"),
        (f"{STORE} tvix.find", "nothing says what may be seen"),
        (f"{STORE} tvix.trust=any tvix.find", "nothing says what may be seen"),
        (f"{STORE} tvix.closure=/nix/store/abc tvix.find", "give tvix.trusted-key=NAME:BASE64, add tvix.trust=any"),
        (f"{STORE} tvix.closure=abc tvix.trust=any tvix.find", "tvix.closure=abc does not name a path in /nix/store"),
        (f"{STORE} tvix.closure=/nix/store/abc tvix.trust=all tvix.find", "tvix.trust=all is not understood"),
        (f"{GOOD} tvix.closure=/nix/store/abc tvix.find", "each say what may be seen"),
        (f"{STORE} tvix.root=blake3-AAAA tvix.find", "tvix.root=blake3-AAAA is not a closure root"),
        (f"{STORE} tvix.root=blake3-é tvix.find", "is not a closure root"),
        (f"{STORE} {ROOT.replace('blake3-', '')} tvix.find", "is not a closure root"),
        (f"{GOOD} tvix.find tvix.on-failure=panic", "tvix.on-failure=panic is none of prompt, poweroff, reboot"),
    ],
)
def test_mistakes(line: str, reason: str) -> None:
    with pytest.raises(InvalidCommandLine) as caught:
        parse(line)
    assert reason in str(caught.value)
    assert caught.value.exit_code == 64


@pytest.mark.parametrize(
    ("line", "choice"),
    [("", "prompt"), ("tvix.on-failure=reboot tvix.nonsense", "reboot"), ("tvix.on-failure=x", "prompt")],
)
def test_what_follows_a_failure_is_known_even_when_the_line_is_wrong(line: str, choice: str) -> None:
    assert contract.on_failure(line) == choice


def test_debug() -> None:
    assert contract.debug("a tvix.debug b")
    assert not contract.debug("a b")


def test_help_names_every_key() -> None:
    text = contract.help_text()
    assert all(f"  {key.name}" in text for key in contract.KEYS)
