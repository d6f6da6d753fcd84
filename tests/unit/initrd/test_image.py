"""The image as a whole: what is in it, that it is the same each time, and what happens when it can't be made."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
import zstandard

from initrd import cpio, image, layout, modules
from tvix.castore.credentials import files_in, own_certificate
from tvix.testing.site import Site

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree that looks like a frozen one: a program that is linked dynamically, a file, a link."""
    tree = tmp_path / "tree"
    (tree / "_internal").mkdir(parents=True)
    shutil.copyfile("/usr/bin/true", tree / "tvix")
    (tree / "tvix").chmod(0o755)
    (tree / "_internal/data").write_bytes(b"data")
    (tree / "_internal/link").symlink_to("data")
    (tree / "build-date").write_text("1700000000\n")
    return tree


@pytest.mark.root
def test_credentials_make_it_a_secret(tree: Path, directory: modules.Directory, tmp_path: Path) -> None:
    given = Site(tmp_path / "site").issue("reader", "kitchen")
    credentials = files_in(str(given)).read()
    image.build(tree, directory, [], tmp_path / "image", credentials=credentials)
    assert stat.S_IMODE((tmp_path / "image").stat().st_mode) == 0o600
    out = unpack(tmp_path / "image", tmp_path / "out")
    inside = out / layout.CREDENTIALS
    assert {path.name: path.read_bytes() for path in inside.iterdir()} == {path.name: path.read_bytes() for path in given.iterdir()}
    assert stat.S_IMODE((inside / "key.pem").stat().st_mode) == 0o600
    # A machine without a clock of its own begins at a time when its certificate is valid.
    assert int((out / layout.BUILD_DATE).read_text()) == own_certificate(credentials).not_before > 1700000000


@pytest.fixture
def directory(kernel: Path) -> modules.Directory:
    return modules.Directory(kernel / "modules")


def unpack(packed: Path, out: Path) -> Path:
    """Unpack the first archive of an image."""
    out.mkdir()
    with packed.open("rb") as file:
        data = zstandard.ZstdDecompressor().stream_reader(file).read()
    subprocess.run(["cpio", "-id", "--quiet", "--no-absolute-filenames"], input=data, cwd=out, check=True)
    return out


@pytest.mark.root
def test_what_is_in_it(tree: Path, directory: modules.Directory, tmp_path: Path) -> None:
    report = image.build(tree, directory, ["btrfs"], tmp_path / "image")
    out = unpack(tmp_path / "image", tmp_path / "out")
    assert os.readlink(out / "init") == layout.PROGRAM
    assert os.access(out / layout.PROGRAM, os.X_OK)
    assert os.readlink(out / "app/_internal/link") == "data"
    assert (out / layout.BUILD_DATE).read_text() == "1700000000\n"
    assert (out / "usr/lib/x86_64-linux-gnu/libc.so.6").is_file()
    assert os.access(out / "usr/lib64/ld-linux-x86-64.so.2", os.X_OK)
    for name, _, major, minor in layout.DEVICES:
        assert (out / name).stat().st_rdev == os.makedev(major, minor)
    listed = [line.split() for line in (out / layout.MODULE_INDEX).read_text().splitlines()]
    files = {file for kind, _, *rest in listed if kind == "module" for file in rest}
    assert files == {path.name for path in (out / layout.MODULES).glob("*.ko")}
    assert {"btrfs.ko", "fuse.ko", "virtio_net.ko"} <= files
    assert report.size == (tmp_path / "image").stat().st_size
    assert "btrfs" in report.modules


def test_the_program_runs_in_it(tree: Path, directory: modules.Directory, tmp_path: Path) -> None:
    """Loader and libraries are enough for the program, in a root of its own."""
    image.build(tree, directory, [], tmp_path / "image")
    out = tmp_path / "out"
    out.mkdir()
    data = zstandard.ZstdDecompressor().stream_reader((tmp_path / "image").read_bytes()).read()
    subprocess.run(["cpio", "-id", "--quiet", "--no-absolute-filenames", "-f", "dev/*"], input=data, cwd=out, check=True)
    subprocess.run(["unshare", "--user", "--map-root-user", "--root", out, "/init"], check=True)


def test_two_builds_are_the_same(tree: Path, directory: modules.Directory, tmp_path: Path) -> None:
    image.build(tree, directory, [], tmp_path / "one")
    again = tmp_path / "again"
    shutil.copytree(tree, again, symlinks=True)
    for path in again.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    image.build(again, directory, [], tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_large_images_are_the_same_too(tmp_path: Path) -> None:
    """Two threads compress; where one stops and the other goes on doesn't depend on which is faster."""
    entry = cpio.regular("large", os.urandom(1 << 20) * 40)
    image.write([entry], tmp_path / "one")
    image.write([entry], tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_window_is_small_enough_for_small_machines(tmp_path: Path) -> None:
    image.write([cpio.regular("large", bytes(100 << 20))], tmp_path / "image")
    parameters = zstandard.get_frame_parameters((tmp_path / "image").read_bytes())
    assert parameters.window_size <= 8 << 20


def test_appended_files_come_second(tree: Path, directory: modules.Directory, tmp_path: Path) -> None:
    base, both = tmp_path / "base", tmp_path / "both"
    image.build(tree, directory, [], base)
    image.append(base, {"etc/os-release": b"ID=other\n", "opt/x/run": b"#!/bin/sh\n"}, both)
    data = both.read_bytes()
    size = base.stat().st_size
    assert data[:size] == base.read_bytes()
    second = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data[size:])).read()
    listed = subprocess.run(["cpio", "-tv", "--quiet"], input=second, capture_output=True, check=True).stdout.decode()
    assert [line.split()[-1] for line in listed.splitlines()] == ["etc", "etc/os-release", "opt", "opt/x", "opt/x/run"]
    assert "-rwxr-xr-x" in listed


def test_a_directory_that_is_no_tree_is_refused(directory: modules.Directory, tmp_path: Path) -> None:
    with pytest.raises(image.NotATree, match="not a frozen tree"):
        image.build(tmp_path, directory, [], tmp_path / "image")


def test_special_files_in_a_tree_are_refused(tree: Path, directory: modules.Directory, tmp_path: Path) -> None:
    os.mkfifo(tree / "fifo")
    with pytest.raises(cpio.UnsuitableEntry, match="fifo: neither file"):
        image.build(tree, directory, [], tmp_path / "image")


def test_nothing_half_written_stays(tree: Path, directory: modules.Directory, tmp_path: Path) -> None:
    os.mkfifo(tree / "fifo")
    output = tmp_path / "images"
    output.mkdir()
    (output / "image").write_bytes(b"the one before")
    with pytest.raises(cpio.UnsuitableEntry):
        image.build(tree, directory, [], output / "image")
    assert os.listdir(output) == ["image"]
    assert (output / "image").read_bytes() == b"the one before"


def test_a_missing_folder_is_said(tree: Path, directory: modules.Directory, tmp_path: Path) -> None:
    with pytest.raises(image.CannotWrite, match="No such file or directory"):
        image.build(tree, directory, [], tmp_path / "nowhere/image")


@pytest.mark.root
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], check=True)
    try:
        with pytest.raises(image.CannotWrite, match="No space left on device"):
            image.write([cpio.regular("noise", os.urandom(1 << 20))], small / "image")
        assert os.listdir(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_image_is_readable_by_all(tree: Path, directory: modules.Directory, tmp_path: Path) -> None:
    image.build(tree, directory, [], tmp_path / "image")
    assert stat.S_IMODE((tmp_path / "image").stat().st_mode) == 0o644
