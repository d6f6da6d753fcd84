"""Store paths of every kind, narinfos and signatures: computed here, compared with those that stock Nix gives."""

from __future__ import annotations

import json
import re
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from tvix.nix_compat.content_address import ContentAddress, parse_content_address
from tvix.nix_compat.hashes import hash_of, parse_hash
from tvix.nix_compat.narinfo import parse_narinfo
from tvix.nix_compat.signatures import SigningKey, fingerprint, parse_signature
from tvix.nix_compat.store_path import fixed_path, output_path, parse_store_path, placeholder, source_path, text_path
from tvix.testing.stock_nix import StockNix
from tvix.testing.trees import ODD_TREES, make_tree

pytestmark = pytest.mark.nix


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize("method", ["flat", "nar"])
def test_fixed_paths(algorithm: str, method: str, nix28: StockNix) -> None:
    value = hash_of(algorithm, b"whatever")
    recursive = ["--recursive"] if method == "nar" else []
    theirs = nix28.line("nix-store", "--print-fixed-path", *recursive, algorithm, value.print("nixbase32"), "a-name_1.2")
    address = ContentAddress("nar" if method == "nar" else "flat", value)
    assert theirs == str(fixed_path("a-name_1.2", address))


def test_text_paths_with_and_without_references(nix28: StockNix) -> None:
    expression = """
      let one = builtins.toFile "one" "1"; two = builtins.toFile "two" "2";
      in [ one two (builtins.toFile "both" "${two} ${one}") ]
    """
    one, two, both = nix28.json("nix-instantiate", "--eval", "--strict", "--json", "-E", expression)
    paths = [text_path("one", sha256(b"1").digest()), text_path("two", sha256(b"2").digest())]
    assert [one, two] == [str(path) for path in paths]
    assert both == str(text_path("both", sha256(f"{two} {one}".encode()).digest(), paths))


def test_output_paths_and_placeholders(nix28: StockNix) -> None:
    expression = """
      derivation { name = "hello"; system = "x86_64-linux"; builder = "/b"; outputs = [ "out" "dev" ]; self = placeholder "dev"; }
    """
    drv = nix28.line("nix-instantiate", "-E", expression)
    text = (nix28.store / Path(drv).name).read_text()
    assert placeholder("dev") in text
    assert drv == str(text_path("hello.drv", sha256(text.encode()).digest()))
    blanked = re.sub(r"/nix/store/[0-9a-z]{32}-hello(-dev)?", "", text)
    modulo = sha256(blanked.encode()).digest()
    outputs = json.loads(nix28.run("nix", "show-derivation", drv))[drv]["outputs"]
    assert {name: output["path"] for name, output in outputs.items()} == {
        "out": str(output_path("hello", modulo)),
        "dev": str(output_path("hello", modulo, "dev")),
    }


def test_source_paths_with_references_and_with_a_self_reference(nix28: StockNix, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy("/bin/busybox", tmp_path / "bin" / "busybox")
    expression = f"""
      let dependency = builtins.toFile "dependency" "d";
      in derivation {{
        name = "both"; system = builtins.currentSystem; builder = "${{{tmp_path}/bin}}/busybox";
        args = [ "sh" "-c" "echo $out ${{dependency}} > $out" ];
      }}
    """
    (tmp_path / "default.nix").write_text(expression)
    built = nix28.line("nix-build", "--no-out-link", tmp_path / "default.nix")
    rewritten = nix28.json("nix", "store", "make-content-addressed", "--json", built)["rewrites"]
    (info,) = nix28.json("nix", "path-info", "--json", rewritten[built])
    path = parse_store_path(info["path"])
    references = {parse_store_path(reference) for reference in info["references"]}
    assert {reference.name for reference in references} == {"both", "dependency"}
    assert path in references
    address = parse_content_address(info["ca"])
    assert fixed_path("both", address, references - {path}, self_reference=True) == path
    assert source_path("both", address.hash.digest, references - {path}) != path


@pytest.fixture
def cached(nix28: StockNix, tmp_path: Path) -> tuple[str, Path]:
    """A path in the store, and a binary cache which has it."""
    path = nix28.line("nix-store", "--add", make_tree(tmp_path / "tree", ODD_TREES["all kinds"]()))
    user = nix28.json(
        *("nix-instantiate", "--eval", "--read-write-mode", "--json"),
        *("-E", 'builtins.toFile "user" "${builtins.toFile "used" "x"}"'),
    )
    cache = tmp_path / "cache"
    nix28.run("nix", "copy", "--to", f"file://{cache}?compression=xz", path, user)
    return path, cache


def test_narinfos_print_as_nix_wrote_them(cached: tuple[str, Path]) -> None:
    path, cache = cached
    narinfos = {file.name: file.read_text() for file in cache.glob("*.narinfo")}
    assert len(narinfos) == 3
    for name, text in narinfos.items():
        assert str(parse_narinfo(text, name)) == text
    info = parse_narinfo(narinfos[parse_store_path(path).basename[:32] + ".narinfo"], path)
    assert str(info.path) == path
    assert info.nar_hash.digest.hex() == "778632e64beea15fbfeb350234667bbb7aca8f7f4b0b589419a5846d34b6cd6a"


def test_nix_s_signature_verifies_here(nix28: StockNix, cached: tuple[str, Path], tmp_path: Path) -> None:
    path, _ = cached
    key_file = tmp_path / "key"
    key_file.write_bytes(nix28.run("nix", "key", "generate-secret", "--key-name", "theirs-1"))
    nix28.run("nix", "store", "sign", "--key-file", key_file, path)
    (info,) = nix28.json("nix", "path-info", "--json", path)
    references = [parse_store_path(reference) for reference in info["references"]]
    message = fingerprint(parse_store_path(path), parse_hash(info["narHash"]).digest, info["narSize"], references)
    (signature,) = map(parse_signature, info["signatures"])
    assert SigningKey.parse(key_file.read_text()).verifying_key.verify(message, signature)
    assert SigningKey.parse(key_file.read_text()).sign(message) == signature


def test_our_signature_is_trusted_by_nix_and_a_wrong_one_is_not(nix28: StockNix, cached: tuple[str, Path], tmp_path: Path) -> None:
    _, cache = cached
    key = SigningKey.generate("ours-1")
    (file,) = (file for file in cache.glob("*.narinfo") if "-user\n" in file.read_text())
    info = parse_narinfo(file.read_text(), file.name)
    for other in cache.glob("*.narinfo"):
        signature = key.sign(parse_narinfo(other.read_text(), other.name).fingerprint())
        kept = [line for line in other.read_text().splitlines(keepends=True) if not line.startswith("CA:")]
        other.write_text("".join(kept) + f"Sig: {signature}\n")
    target = tmp_path / "other-root"
    target.mkdir()
    copy = ["nix", "copy", "--from", f"file://{cache}", "--to", f"local?root={target}", "--option", "trusted-public-keys"]
    another = SigningKey.generate("ours-1")
    assert nix28.try_run(*copy, str(another.verifying_key), str(info.path)).returncode != 0
    nix28.run(*copy, str(key.verifying_key), str(info.path))
    assert (target / "nix/store" / info.path.basename).exists()


@pytest.mark.root
def test_the_shape_of_path_info_in_nix_226(nix226: StockNix, tmp_path: Path) -> None:
    """The answer of `tvix path-info --json` is held to this shape: an object keyed by path, absent things null or empty."""
    path = nix226.line("nix-store", "--add", make_tree(tmp_path / "tree", ODD_TREES["all kinds"]()))
    answer = nix226.json("nix", "path-info", "--json", path)
    assert list(answer) == [path]
    info = answer[path]
    assert isinstance(info.pop("registrationTime"), int)
    assert info == {
        "ca": "fixed:r:sha256:0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp",
        "deriver": None,
        "narHash": "sha256-d4Yy5kvuoV+/6zUCNGZ7u3rKj39LC1iUGaWEbTS2zWo=",
        "narSize": 896,
        "references": [],
        "signatures": [],
        "ultimate": False,
    }
    missing = "/nix/store/00000000000000000000000000000000-missing"
    assert nix226.json("nix", "path-info", "--json", missing) == {missing: None}
