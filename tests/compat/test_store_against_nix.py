"""A store against stock Nix: the same hashes and store paths for fifty odd trees, real closures in, and back out."""

from __future__ import annotations

import io
import json
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.store_path import StorePath, parse_store_path
from tvix.store.addresses import open_store
from tvix.store.closure import closure, closure_directory, closure_root
from tvix.store.exporting import export_nar, export_path
from tvix.store.importing import import_closure, import_nar, import_path
from tvix.store.nar_hash import hash_path, write_nar
from tvix.store.path_info_json import path_infos_object
from tvix.store.path_infos.checking import CheckingPathInfoService
from tvix.store.store import Store
from tvix.testing.stock_nix import StockNix
from tvix.testing.trees import ODD_TREES, make_tree

pytestmark = pytest.mark.nix


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"pack:{tmp_path}/pack") as opened:
        yield opened


def nar_of(store: Store, path: StorePath) -> bytes:
    out = io.BytesIO()
    export_nar(store, path, out.write)
    return out.getvalue()


@pytest.mark.parametrize("name", ODD_TREES)
def test_the_same_path_and_nar_as_stock_nix(name: str, store: Store, nix28: StockNix, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", ODD_TREES[name]())
    dumped = nix28.run("nix-store", "--dump", tree)
    pieces: list[bytes] = []
    assert write_nar(tree, pieces.append) == len(dumped)
    assert b"".join(pieces) == dumped
    info = import_path(store, tree)
    assert (info.nar_size, info.nar_sha256) == hash_path(tree)
    assert nar_of(store, info.path) == dumped
    assert str(info.path) == nix28.line("nix-store", "--add", tree)


@pytest.mark.parametrize(
    "name", ["all kinds", "keep", "modes", "longest target", "names not UTF-8", "big file", "nested to the limit"]
)
def test_a_nar_in_and_a_tree_out(name: str, store: Store, nix28: StockNix, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", ODD_TREES[name]())
    dumped = nix28.run("nix-store", "--dump", tree)
    info = import_nar(store, io.BytesIO(dumped).read, "tree")
    assert str(info.path) == nix28.line("nix-store", "--add", tree)
    export_path(store, info.path, tmp_path / "out")
    assert nix28.run("nix-store", "--dump", tmp_path / "out") == dumped


DERIVATION = """
    let
      builder = %s;
      make = name: script: more: derivation ({
        inherit name builder;
        system = builtins.currentSystem;
        args = [ "sh" "-c" script ];
      } // more);
      text = builtins.toFile "motd" "hello, world\\n";
      library = make "library-1.0" ''
        ${builder} mkdir -p $out/lib $out/share; echo $out > $out/lib/self; echo shared > $out/lib/lib.so
        ${builder} ln -s ../lib/lib.so $out/share/link'' { };
      fixed = make "fixed" "echo -n fixed > $out" {
        outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = builtins.hashString "sha256" "fixed";
      };
    in make "program-1.0" ''
      ${builder} mkdir -p $out/bin; echo "#! ${builder} sh" > $out/bin/program
      echo "cat ${text} ${library}/lib/lib.so ${fixed}" >> $out/bin/program; ${builder} chmod +x $out/bin/program'' { }
"""


@pytest.fixture
def program(nix28: StockNix, tmp_path: Path) -> str:
    """A closure of five paths in stock Nix's store: a program, a library that refers to itself, a text, a fixed output, busybox."""
    (tmp_path / "src").mkdir()
    shutil.copy("/bin/busybox", tmp_path / "src" / "busybox")
    expression = tmp_path / "program.nix"
    expression.write_text(textwrap.dedent(DERIVATION % '"${./src}/busybox"'))
    return nix28.line("nix-build", "--no-out-link", expression)


@pytest.fixture
def info_file(nix28: StockNix, program: str, tmp_path: Path) -> Path:
    file = tmp_path / "INFO.json"
    file.write_bytes(nix28.run("nix", "path-info", "-r", "--json", program))
    return file


def test_a_real_closure_in_and_back_out(store: Store, nix28: StockNix, info_file: Path, tmp_path: Path) -> None:
    infos = {info.path: info for info in import_closure(store, nix28.store, info_file)}
    told = {one["path"]: one for one in json.loads(info_file.read_bytes())}
    assert len(told) == 5
    assert {str(path) for path in infos} == set(told)
    for path, info in infos.items():
        one = told[str(path)]
        assert [str(reference) for reference in info.references] == sorted(one["references"])
        assert Hash("sha256", info.nar_sha256).print("sri") == one["narHash"]
        assert info.nar_size == one["narSize"]
        assert one.get("ca") == (str(info.content_address) if info.content_address else None)
        assert one.get("deriver") == (str(info.deriver) if info.deriver else None)
        dumped = nix28.run("nix-store", "--dump", nix28.store / path.basename)
        assert nar_of(store, path) == dumped
        restored = tmp_path / "restored" / path.basename
        restored.parent.mkdir(exist_ok=True)
        nix28.run("nix-store", "--restore", restored, stdin=nar_of(store, path))
        assert nix28.run("nix-store", "--dump", restored) == dumped


def test_a_store_that_checks_takes_what_stock_nix_made(nix28: StockNix, info_file: Path) -> None:
    """Content addresses of every kind that this Nix makes hold when they are computed anew."""
    plain = open_store("memory:")
    store = Store(plain.blobs, plain.directories, CheckingPathInfoService(plain.path_infos, plain.blobs, plain.directories))
    infos = import_closure(store, nix28.store, info_file)
    assert {info.content_address.method for info in infos if info.content_address} == {"nar", "text", "flat"}


def test_trees_that_refer_to_themselves_hash_as_in_stock_nix(nix28: StockNix, program: str, tmp_path: Path) -> None:
    done = nix28.json("nix", "store", "make-content-addressed", "-r", "--json", program)
    made = list(done["rewrites"].values())
    printed = nix28.json("nix", "path-info", "--json", *made)
    assert any(one["path"] in one["references"] for one in printed)
    (tmp_path / "INFO.json").write_text(json.dumps(printed))
    plain = open_store("memory:")
    store = Store(plain.blobs, plain.directories, CheckingPathInfoService(plain.path_infos, plain.blobs, plain.directories))
    infos = import_closure(store, nix28.store, tmp_path / "INFO.json")
    assert all(info.content_address for info in infos)


def test_the_closure_is_that_of_nix_store_query(store: Store, nix28: StockNix, program: str, info_file: Path) -> None:
    import_closure(store, nix28.store, info_file)
    found = closure(store.path_infos, [parse_store_path(program)])
    assert [str(path) for path in found] == sorted(nix28.run("nix-store", "--query", "--requisites", program).decode().split())
    root = closure_root(store, [parse_store_path(program)])
    (directory,) = store.directories.get_many([root]).values()
    assert directory == closure_directory(found.values())
    assert [name.decode() for name in directory.entries] == [path.basename for path in found]


def test_importing_again_changes_nothing(store: Store, nix28: StockNix, info_file: Path) -> None:
    first = import_closure(store, nix28.store, info_file)
    assert import_closure(store, nix28.store, info_file) == first
    assert import_closure(store, "/nowhere", info_file) == first


@pytest.mark.root
def test_json_as_the_newer_nix_prints_it(store: Store, nix226: StockNix, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", ODD_TREES["all kinds"]())
    leaf = nix226.line("nix-store", "--add", tmp_path / "tree")
    text = f'builtins.toFile "text" "see ${{builtins.storePath {leaf}}}"'
    path = nix226.line("nix-instantiate", "--eval", "--read-write-mode", "--expr", text).strip('"')
    printed = nix226.json("nix", "path-info", "-r", "--json", path)
    file = tmp_path / "INFO.json"
    file.write_text(json.dumps(printed))
    infos = import_closure(store, nix226.store, file)
    assert len(infos) == 2
    ours = path_infos_object(infos)
    assert list(ours) == sorted(printed)
    assert _comparable(ours) == _comparable(printed)
    assert all(set(one) == set(printed[path]) for path, one in ours.items() if isinstance(one, dict))


def _comparable(printed: dict[str, object]) -> dict[str, object]:
    """Without what is a store's own business: when it took a path in, and whether it built it itself."""
    return {path: {**one, "registrationTime": None, "ultimate": None} for path, one in printed.items() if isinstance(one, dict)}
