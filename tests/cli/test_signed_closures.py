"""Keys are made, closures signed, and programs run out of what a trusted key has signed."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tvix.castore.digests import parse_digest
from tvix.nix_compat.signatures import SigningKey, parse_signature
from tvix.nix_compat.store_path import parse_store_path
from tvix.store.addresses import open_store
from tvix.store.closure_roots.interface import SignedRoot

if TYPE_CHECKING:
    from tests.cli.conftest import Tvix


def make_store(tvix: Tvix, tmp_path: Path) -> tuple[str, str]:
    """(address of a store, a store path in it)"""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("contents")
    store = f"pack:{tmp_path}/store"
    (path,) = tvix("store", "import", "--store", store, "--progress", "quiet", tree).lines
    return store, path.split()[0]


def make_key(tvix: Tvix, tmp_path: Path, name: str = "site-1") -> tuple[Path, str]:
    public = tvix("key", "generate", "--directory", tmp_path, name).lines[0]
    return tmp_path / f"{name}.secret", public


def test_a_key_is_a_pair_of_files(tvix: Tvix, tmp_path: Path) -> None:
    answer = tvix("key", "generate", "--json", "--directory", tmp_path, "site-1").json
    secret, public = tmp_path / "site-1.secret", tmp_path / "site-1.public"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    key = SigningKey.parse(secret.read_text())
    assert public.read_text() == f"{key.verifying_key}\n"
    assert answer == {
        "name": "site-1",
        "publicKey": str(key.verifying_key),
        "secretFile": str(secret),
        "publicFile": str(public),
    }


@pytest.mark.parametrize("end", ["secret", "public"])
def test_no_key_is_overwritten(tvix: Tvix, tmp_path: Path, end: str) -> None:
    (tmp_path / f"site-1.{end}").write_text("precious")
    tvix.fails("key", "generate", "--directory", tmp_path, "site-1", status=77, says="exists")
    assert [path.read_text() for path in tmp_path.glob("site-1.*")] == ["precious"]


@pytest.mark.parametrize(("name", "status"), [("a/b", 64), (".a", 64), ("a b", 65), ("", 65), ("a:b", 65)])
def test_names_that_no_key_can_have(tvix: Tvix, tmp_path: Path, name: str, status: int) -> None:
    tvix.fails("key", "generate", "--directory", tmp_path, name, status=status, says="name")
    assert not list(tmp_path.glob("*.secret"))


def test_a_closure_is_signed(tvix: Tvix, tmp_path: Path) -> None:
    store, path = make_store(tvix, tmp_path)
    secret, public = make_key(tvix, tmp_path)
    root, signature = tvix("store", "sign-closure", path, "--key", secret, "--store", store).lines
    assert [root] == tvix("store", "closure", "--store", store, path).lines
    signed = SignedRoot(parse_store_path(path), parse_digest(root), (parse_signature(signature),))
    assert signed.message == f"tvix-root;1;{path};{root}".encode()
    key = SigningKey.parse(secret.read_text()).verifying_key
    assert str(key) == public
    assert key.verify(signed.message, signed.signatures[0])
    with open_store(store) as opened:
        assert opened.closure_roots is not None
        assert opened.closure_roots.get(signed.path.digest) == signed
        assert not opened.directories.missing([signed.root])
    other, _public = make_key(tvix, tmp_path, "other")
    answer = tvix("store", "sign-closure", "--json", path, "--key", other, "--store", store).json
    assert answer["root"] == root
    assert [text.partition(":")[0] for text in answer["signatures"]] == ["site-1", "other"]


def test_what_cannot_be_signed(tvix: Tvix, tmp_path: Path) -> None:
    store, path = make_store(tvix, tmp_path)
    secret, _public = make_key(tvix, tmp_path)
    sign = ("store", "sign-closure", "--store", store)
    tvix.fails(*sign, path, "--key", tmp_path / "none", status=66, says="can't be read")
    tvix.fails(*sign, path, "--key", tmp_path / "site-1.public", status=65, says="is not a secret key")
    tvix.fails(*sign, path[:-1] + "x", "--key", secret, status=66, says="is not in the store")


def test_wrong_options(tvix: Tvix, tmp_path: Path) -> None:
    store, path = make_store(tvix, tmp_path)
    _secret, public = make_key(tvix, tmp_path)
    mount = ("mount", "--store", store, tmp_path / "mnt")
    tvix.fails(*mount, "--trusted-key", public, status=64, says="--closure")
    tvix.fails(*mount, "--closure", path, "--trusted-key", "site-1", status=65, says="is not a public key")


@pytest.mark.fuse
def test_a_program_runs_out_of_what_is_signed_and_of_nothing_else(tvix: Tvix, tmp_path: Path) -> None:
    store, path = make_store(tvix, tmp_path)
    _secret, public = make_key(tvix, tmp_path)
    other, other_public = make_key(tvix, tmp_path, "other")
    run = ("run", "--store", store)
    tvix.fails(*run, "--trusted-key", public, f"{path}/file", status=66, says="there is no signed closure root")
    tvix("store", "sign-closure", path, "--key", other, "--store", store)
    tvix.fails(*run, "--trusted-key", public, f"{path}/file", status=77, says="signed by other, not by site-1")
    wrong = f"other:{public.partition(':')[2]}"
    tvix.fails(*run, "--trusted-key", wrong, f"{path}/file", status=65, says="the signature is wrong")
    # Nothing that can be executed is there: that it is found at all means that the mount is up.
    tvix.fails(*run, "--trusted-key", public, "--trusted-key", other_public, f"{path}/file", status=126, says="can't be run")
