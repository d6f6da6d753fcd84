"""The library closure, against the dynamic loader itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from initrd import elf


def ldd(path: str) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    output = subprocess.run(["ldd", path], env=environment, capture_output=True, text=True, check=True).stdout
    return {name: os.path.realpath(file) for name, file in re.findall(r"(\S+) => (/\S+)", output)}


@pytest.mark.parametrize(
    "program", ["/usr/bin/qemu-system-x86_64", "/usr/bin/nix-store", "/usr/bin/systemd-nspawn", "/usr/bin/python3.11"]
)
def test_same_closure_as_the_loader_finds(program: str) -> None:
    found = elf.closure([Path(program)], {})
    assert {name: str(path) for name, path in found.libraries.items()} == ldd(program)
    assert found.loaders == {"/lib64/ld-linux-x86-64.so.2": Path("/lib64/ld-linux-x86-64.so.2").resolve()}


def test_a_static_program_needs_nothing() -> None:
    assert elf.closure([Path("/usr/bin/busybox")], {}) == elf.Closure({}, {})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A program and a library `liba` that both need `libb`."""
    (tmp_path / "b.c").write_text("int b(void) { return 7; }")
    (tmp_path / "a.c").write_text("int b(void); int a(void) { return b(); }")
    (tmp_path / "main.c").write_text("int b(void); int main(void) { return b(); }")
    for arguments in (
        ["-shared", "-o", "libb.so", "b.c"],
        ["-shared", "-o", "liba.so", "a.c", "-L.", "-lb"],
        ["-o", "main", "main.c", "-L.", "-lb"],
    ):
        subprocess.run(["gcc", *arguments], cwd=tmp_path, check=True)
    return tmp_path


def test_bundled_libraries_serve_libraries(bundle: Path) -> None:
    found = elf.closure([bundle / "liba.so"], {"libb.so": bundle / "libb.so"})
    assert found == elf.Closure({}, {})


def test_bundled_libraries_don_t_serve_programs(bundle: Path) -> None:
    with pytest.raises(elf.MissingLibrary, match=r"main: needs libb\.so"):
        elf.closure([bundle / "main"], {"libb.so": bundle / "libb.so"})


@pytest.mark.parametrize("tag", ["--force-rpath", "--no-op"])
def test_the_object_s_own_path_is_searched_first(bundle: Path, tag: str) -> None:
    arguments = ["--force-rpath"] if tag == "--force-rpath" else []
    (bundle / "lib").mkdir()
    shutil.move(bundle / "libb.so", bundle / "lib/libb.so")
    subprocess.run(["patchelf", *arguments, "--set-rpath", "/nowhere:$ORIGIN/lib", bundle / "main"], check=True)
    assert elf.closure([bundle / "main"], {}).libraries["libb.so"] == bundle / "lib/libb.so"


def test_ld_library_path_is_not_searched(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(bundle))
    with pytest.raises(elf.MissingLibrary):
        elf.closure([bundle / "main"], {})


def test_broken_objects_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(Path("/usr/bin/busybox").read_bytes()[:100])
    assert elf.is_elf(broken)
    with pytest.raises(elf.BrokenObject, match=r"broken\.so"):
        elf.needs(broken)


def test_objects_of_other_machines_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    data = bytearray(Path(os.path.realpath(sys.executable)).read_bytes())
    data[18] = 183  # e_machine: AArch64
    other.write_bytes(data)
    with pytest.raises(elf.BrokenObject, match="EM_AARCH64"):
        elf.needs(other)
