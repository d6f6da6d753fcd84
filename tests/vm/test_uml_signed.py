"""Boots that believe a closure by the signature of its root, and those that are told why they don't."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import PROGRAM
from harness import STATIC, STORE

from tvix.castore.digests import parse_digest
from tvix.nix_compat.store_path import parse_store_path
from tvix.store.addresses import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Closure
    from harness import Machine

    Boot = Callable[..., Machine]

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.usefixtures("server")]

OFF = "tvix.on-failure=poweroff"


def tvix(*words: str | Path) -> list[str]:
    finished = subprocess.run([PROGRAM, *words], check=True, stdout=subprocess.PIPE, text=True)
    return finished.stdout.splitlines()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """(secret key file of site-1, its public key, the public key of somebody else)"""
    directory = tmp_path_factory.mktemp("keys")
    public, other = (tvix("key", "generate", "--directory", directory, name)[0] for name in ("site-1", "other"))
    return directory / "site-1.secret", public, other


def test_a_signed_closure_runs_lazily(boot: Boot, closure: Closure, store: str, keys: tuple[Path, str, str]) -> None:
    secret, public, other = keys
    tvix("store", "sign-closure", "--store", store, "--key", secret, closure.busybox)
    words = (f"tvix.closure={closure.busybox}", f'tvix.trusted-key="{other} {public}"', closure.run("echo", "out", "of", "it"))
    machine = boot(STATIC, f"tvix.store={STORE}", *words, OFF)
    assert machine.finish()["outcome"] == "ok"
    assert b"out of it" in machine.output


def test_no_contents_are_read_to_trust_them(boot: Boot, closure: Closure, store: str, keys: tuple[Path, str, str]) -> None:
    secret, public, _other = keys
    tvix("store", "sign-closure", "--store", store, "--key", secret, closure.large)
    words = (f"tvix.closure={closure.large}", f"tvix.trusted-key={public}", "tvix.find")
    machine = boot(STATIC, f"tvix.store={STORE}", *words, OFF)
    assert machine.finish()["outcome"] == "ok"
    assert machine.step("find")["paths"] == 4
    assert machine.step("stats")["mount"]["bytesFetched"] < 10_000


def test_who_is_not_trusted(boot: Boot, closure: Closure, store: str, keys: tuple[Path, str, str]) -> None:
    secret, _public, other = keys
    tvix("store", "sign-closure", "--store", store, "--key", secret, closure.busybox)
    words = (f"tvix.closure={closure.busybox}", f"tvix.trusted-key={other}", closure.run("echo", "fooled"))
    machine = boot(STATIC, f"tvix.store={STORE}", *words, OFF)
    assert machine.finish()["exit"] == 77
    failure = machine.step("mount", "fail")
    assert "is signed by site-1, not by other: refused" in failure["error"]
    assert failure["id"] == "store.untrusted-root"
    assert failure["hint"]
    assert b"fooled\r\n" not in machine.output


def test_a_root_that_nobody_signed(boot: Boot, closure: Closure, keys: tuple[Path, str, str]) -> None:
    words = (f"tvix.closure={closure.scripts}", f"tvix.trusted-key={keys[1]}", closure.run("echo", "fooled"))
    machine = boot(STATIC, f"tvix.store={STORE}", *words, OFF)
    assert machine.finish()["exit"] == 66
    assert "there is no signed closure root" in machine.step("mount", "fail")["error"]


def test_a_tampered_root(boot: Boot, closure: Closure, store: str, keys: tuple[Path, str, str]) -> None:
    secret, public, _other = keys
    tvix("store", "sign-closure", "--store", store, "--key", secret, closure.large)
    with open_store(store) as opened:
        assert opened.closure_roots is not None
        signed = opened.closure_roots.get(parse_store_path(closure.large).digest)
        assert signed is not None
        opened.closure_roots.put(signed._replace(root=parse_digest(closure.root)))
    words = (f"tvix.closure={closure.large}", f"tvix.trusted-key={public}", "tvix.find")
    machine = boot(STATIC, f"tvix.store={STORE}", *words, OFF)
    assert machine.finish()["exit"] == 65
    failure = machine.step("mount", "fail")
    assert "bears the name of site-1, but the signature is wrong: refused" in failure["error"]
    assert failure["id"] == "store.wrong-root-signature"
