"""The module closure, against kmod on Debian's own kernels."""

from __future__ import annotations

import fnmatch
import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from initrd import modules

THROUGH_ALIASES = {"crc32c_intel"}
"""What modprobe adds since a soft dependency names an alias of it (`crypto-crc32c`): faster code for what is built in."""

SOME = ("virtio_net", "virtio_pci", "erofs", "overlay", "ena", "nf_tables", "btrfs", "hv_netvsc")


@pytest.fixture(scope="module")
def depmod(kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of Debian's modules on which depmod has run, and the kernel's version."""
    version = (kernel / "version").read_text().strip()
    root = tmp_path_factory.mktemp("depmod")
    shutil.copytree(kernel / "modules", root / "lib/modules" / version)
    subprocess.run(["depmod", "-b", root, version], check=True)
    return root, version


@pytest.mark.parametrize("name", SOME)
def test_same_files_as_modprobe_loads(kernel: Path, depmod: tuple[Path, str], name: str) -> None:
    root, version = depmod
    command = ["modprobe", "-d", root, "-S", version, "--ignore-install", "--show-depends", name]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expected = {
        modules.canonical(Path(line.split()[1]).name.split(".")[0]) for line in shown.splitlines() if line.startswith("insmod")
    }
    assert {module.name for module in modules.Directory(kernel / "modules").load_order(name)} == expected - THROUGH_ALIASES


@pytest.mark.parametrize("name", SOME)
def test_what_a_module_needs_comes_before_it(kernel: Path, name: str) -> None:
    order = modules.Directory(kernel / "modules").load_order(name)
    names = [module.name for module in order]
    assert names[-1] == name
    for position, module in enumerate(order):
        assert set(module.depends) <= set(names[:position])


def test_same_aliases_as_depmod_finds(kernel: Path, depmod: tuple[Path, str]) -> None:
    root, version = depmod
    words = [line.split() for line in (root / "lib/modules" / version / "modules.alias").read_text().splitlines()]
    expected = {(word[1], word[2]) for word in words if word[0] == "alias" and word[2] in SOME and ":" in word[1]}
    directory = modules.Directory(kernel / "modules")
    found = {(alias, name) for name in SOME for alias in directory.read(name).aliases if ":" in alias}
    assert found == expected


def test_the_index_is_what_the_format_says(kernel: Path) -> None:
    text, taken = modules.index(modules.Directory(kernel / "modules"), ["virtio_net", "fuse"])
    assert text.decode().splitlines() == [
        "module failover failover.ko",
        "module fuse fuse.ko",
        "module net_failover failover.ko net_failover.ko",
        "module virtio virtio_ring.ko virtio.ko",
        "module virtio_net virtio_ring.ko virtio.ko failover.ko net_failover.ko virtio_net.ko",
        "module virtio_ring virtio_ring.ko",
        "alias devname:fuse fuse",
        "alias virtio:d00000001v* virtio_net",
    ]
    assert sorted(taken) == ["failover", "fuse", "net_failover", "virtio", "virtio_net", "virtio_ring"]


def test_built_in_modules_take_no_file(kernel: Path) -> None:
    directory = modules.Directory(kernel / "modules")
    assert directory.is_builtin("af-packet")
    assert directory.load_order("af_packet") == []


def test_dashes_and_underscores_are_the_same(kernel: Path) -> None:
    directory = modules.Directory(kernel / "modules")
    assert directory.load_order("virtio-net") == directory.load_order("virtio_net")


def test_a_missing_module_is_named(kernel: Path) -> None:
    with pytest.raises(modules.NoSuchModule, match="no_such_thing: no such module in"):
        modules.index(modules.Directory(kernel / "modules"), ["no-such-thing"])


def test_a_directory_without_modules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(modules.NotModules, match="no kernel modules here"):
        modules.Directory(tmp_path)


def make_directory(path: Path, name: str, content: bytes) -> modules.Directory:
    (path / "kernel").mkdir()
    (path / "modules.builtin").write_text("")
    (path / "kernel" / name).write_bytes(content)
    return modules.Directory(path)


@pytest.mark.parametrize("compression", ["xz", "gz", "zst"])
def test_compressed_modules_are_taken_uncompressed(kernel: Path, tmp_path: Path, compression: str) -> None:
    plain = modules.Directory(kernel / "modules").read("failover")
    if compression == "xz":
        packed = lzma.compress(plain.content, check=lzma.CHECK_CRC32)
    else:
        packed = subprocess.run(
            [{"gz": "gzip", "zst": "zstd"}[compression]], input=plain.content, capture_output=True, check=True
        ).stdout
    assert make_directory(tmp_path, f"failover.ko.{compression}", packed).read("failover") == plain


@pytest.mark.parametrize("name", ["broken.ko", "broken.ko.xz", "broken.ko.gz", "broken.ko.zst"])
def test_broken_modules_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(modules.BrokenModule, match=r"broken\.ko"):
        make_directory(tmp_path, name, b"not a module").read("broken")


def test_a_program_is_not_a_module(tmp_path: Path) -> None:
    with pytest.raises(modules.BrokenModule, match=r"no \.modinfo"):
        make_directory(tmp_path, "fake.ko", Path("/usr/bin/busybox").read_bytes()).read("fake")


@pytest.mark.parametrize(
    ("alias", "texts"),
    [
        ("usb:v04B4d[0-2]*", ["usb:v04B4d0x", "usb:v04B4d2"]),
        ("dmi:a[b-c]d[e]f", ["dmi:abdef", "dmi:acdef"]),
        ("pci:v0000*", ["pci:v00001"]),
    ],
)
def test_classes_are_written_out(alias: str, texts: list[str]) -> None:
    patterns = modules._patterns(alias)
    assert not any("[" in pattern for pattern in patterns)
    for text in texts:
        assert any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)
    assert not any(fnmatch.fnmatchcase("usb:v04B4d3", pattern) for pattern in patterns)
