"""What a mount shows, whatever the store behind it."""

from __future__ import annotations

import errno
import json
import mmap
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tvix.castore.digests import digest_of, parse_digest, print_digest
from tvix.testing.mount_samples import HELLO, LARGE, TARGET, Sample

WITH_KEEP = "8b5b5d642b646bb8ed504b0862c39413e87e57491497de7bd075953f7b83810e"

pytestmark = [pytest.mark.root, pytest.mark.fuse]


def requests(mount: Path) -> dict[str, int]:
    """What the kernel has asked so far, by operation."""
    counts: dict[str, int] = json.loads(os.getxattr(mount, "user.tvix.stats"))["requests"]
    return counts


def refused(number: int, call: Callable[[], object]) -> None:
    """`call` fails with one errno and no other."""
    with pytest.raises(OSError) as failure:  # noqa: PT011 - the errno is looked at
        call()
    assert errno.errorcode[failure.value.errno or 0] == errno.errorcode[number]


def test_the_root_is_a_directory(mount: Path) -> None:
    status = mount.stat()
    assert stat.S_IMODE(status.st_mode) == 0o555
    assert stat.S_ISDIR(status.st_mode)
    assert status.st_ino == 1


def test_the_root_of_a_store_is_not_listed(mount: Path) -> None:
    refused(errno.EPERM, lambda: os.listdir(mount))


def test_the_root_is_listed_when_asked_for(mount_with: Callable[..., Path], paths: Sample) -> None:
    mount = mount_with("--list")
    for _ in range(2):  # the second time the kernel must not think it knows
        assert set(os.listdir(mount)) == {path.basename for path in paths}


def test_a_file_at_the_root(mount: Path, paths: Sample) -> None:
    status = (mount / paths.file.basename).lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_size, status.st_mtime, status.st_nlink) == (0o444, 12, 1, 1)
    assert (mount / paths.file.basename).read_bytes() == HELLO


def test_a_large_file_at_the_root(mount: Path, paths: Sample) -> None:
    assert (mount / paths.large.basename).read_bytes() == LARGE


def test_reads_of_any_size_at_any_place(mount: Path, paths: Sample) -> None:
    with open(mount / paths.large.basename, "rb", buffering=0) as file:
        for offset, length in ((0, 1), (4095, 2), (65_535, 131_074), (len(LARGE) - 1, 10), (len(LARGE), 1), (7, 1_000_000)):
            assert os.pread(file.fileno(), length, offset) == LARGE[offset : offset + length]


def test_readlink(mount: Path, paths: Sample) -> None:
    link = mount / paths.link.basename
    assert os.fsencode(os.readlink(link)) == TARGET
    assert (stat.S_ISLNK(link.lstat().st_mode), link.lstat().st_size) == (True, len(TARGET))


def test_a_symlink_is_followed(mount: Path, paths: Sample) -> None:
    link = mount / paths.link_to_file.basename
    assert link.read_bytes() == HELLO
    assert link.stat().st_ino == (mount / paths.file.basename).stat().st_ino


def test_a_directory(mount: Path, paths: Sample) -> None:
    status = (mount / paths.complicated.basename).stat()
    assert (stat.S_ISDIR(status.st_mode), stat.S_IMODE(status.st_mode), status.st_mtime) == (True, 0o555, 1)
    assert status.st_nlink >= 1


def test_directories_are_listed_with_types(mount: Path, paths: Sample) -> None:
    with os.scandir(mount / paths.complicated.basename) as entries:
        found = {entry.name: (entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in entries}
    assert found == {"keep": (True, False), ".keep": (False, False), "aa": (False, True)}
    assert os.listdir(mount / paths.complicated.basename / "keep") == [".keep"]


def test_a_listing_names_the_nodes_that_stat_does(mount: Path, paths: Sample) -> None:
    with os.scandir(mount / paths.deep.basename) as entries:
        assert all(entry.inode() == entry.stat(follow_symlinks=False).st_ino for entry in entries)


def test_files_below_directories(mount: Path, paths: Sample) -> None:
    assert (mount / paths.keep.basename / ".keep").read_bytes() == b""
    assert (mount / paths.deep.basename / "hello").read_bytes() == HELLO
    assert b"from the store" in (mount / paths.deep.basename / "a/run.txt").read_bytes()


def test_an_empty_directory(mount: Path, paths: Sample) -> None:
    assert os.listdir(mount / paths.deep.basename / "c") == []


def test_executables_run_and_others_do_not(mount: Path, paths: Sample) -> None:
    tools = mount / paths.deep.basename / "a"
    assert stat.S_IMODE((tools / "run").stat().st_mode) == 0o555
    assert subprocess.run([tools / "run", "x"], capture_output=True, check=True).stdout == b"from the store: x\n"
    refused(errno.EACCES, lambda: subprocess.run([tools / "run.txt"]))


def test_mmap(mount: Path, paths: Sample) -> None:
    with open(mount / paths.large.basename, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
        assert memory[500_000:500_100] == LARGE[500_000:500_100]


def test_extended_attributes_are_digests(mount: Path, paths: Sample) -> None:
    file = mount / paths.file.basename
    names = os.listxattr(file)
    assert names == ["user.tvix.castore.blob.digest", "user.snix.castore.blob.digest"]
    assert {os.getxattr(file, name) for name in names} == {print_digest(digest_of(HELLO)).encode()}
    directory = mount / paths.keep.basename
    for name in os.listxattr(directory):
        assert name.endswith("castore.directory.digest")
        assert os.getxattr(directory, name) == print_digest(parse_digest(WITH_KEEP)).encode()
    assert os.listxattr(mount / paths.link.basename, follow_symlinks=False) == []
    refused(errno.ENODATA, lambda: os.getxattr(file, "user.other"))
    refused(errno.EOPNOTSUPP, lambda: os.getxattr(file, "security.selinux"))


def test_equal_files_share_an_inode_and_positions_do_not(mount: Path, paths: Sample) -> None:
    deep = mount / paths.deep.basename
    inode = lambda path: path.lstat().st_ino  # noqa: E731
    assert inode(deep / "hello") == inode(mount / paths.file.basename)
    assert inode(deep / "a/run") == inode(deep / "b/run")
    assert inode(deep / "a/run") != inode(deep / "a/run.txt"), "the executable bit is part of it"
    assert inode(deep / "a") != inode(deep / "b"), "one directory with two parents has a wrong .."
    assert inode(mount / paths.link.basename) != inode(mount / paths.complicated.basename / "aa")
    assert os.path.samefile(deep / "b" / "..", deep)


def test_unknown_names(mount: Path, paths: Sample) -> None:
    unknown = "00000000000000000000000000000000-unknown"
    for name in ("x", unknown, paths.file.basename + "x", paths.file.basename[:32] + "-other", ".git", "é"):
        refused(errno.ENOENT, (mount / name).lstat)
    refused(errno.ENOENT, (mount / paths.deep.basename / "nope").lstat)
    refused(errno.ENOTDIR, (mount / paths.file.basename / "x").lstat)


def test_writes_are_refused_as_read_only(mount: Path, paths: Sample) -> None:
    file, directory = mount / paths.file.basename, mount / paths.deep.basename
    for call in (
        lambda: os.open(file, os.O_WRONLY),
        lambda: os.open(directory / "new", os.O_CREAT | os.O_WRONLY),
        lambda: os.mkdir(directory / "new"),
        lambda: os.unlink(file),
        lambda: os.rename(file, mount / "x"),
        lambda: os.symlink("a", directory / "new"),
        lambda: os.chmod(file, 0o777),
        lambda: os.utime(file),
        lambda: os.setxattr(file, "user.x", b""),
        lambda: os.truncate(file, 0),
    ):
        refused(errno.EROFS, call)


def test_a_missing_directory_is_an_error(mount: Path, paths: Sample) -> None:
    place = mount / paths.missing_directory.basename
    assert stat.S_ISDIR(place.lstat().st_mode)
    refused(errno.EIO, lambda: os.listdir(place))
    refused(errno.EIO, (place / "x").lstat)


def test_a_missing_blob_is_an_error(mount: Path, paths: Sample) -> None:
    assert (mount / paths.missing_blob.basename).lstat().st_size == 12
    refused(errno.EIO, (mount / paths.missing_blob.basename).read_bytes)


def test_a_blob_of_another_size_is_an_error(mount: Path, paths: Sample) -> None:
    refused(errno.EIO, (mount / paths.wrong_size.basename).read_bytes)
    assert (mount / paths.file.basename).read_bytes() == HELLO


def test_statfs_tells_something(mount: Path, paths: Sample) -> None:
    (mount / paths.large.basename).lstat()
    status = os.statvfs(mount)
    assert status.f_blocks * status.f_frsize >= len(LARGE)
    assert (status.f_bfree, status.f_namemax) == (0, 255)
    assert status.f_files >= 2
    assert status.f_flag & os.ST_RDONLY
    assert status.f_flag & os.ST_NOSUID
    assert status.f_flag & os.ST_NODEV


def test_warm_the_kernel_asks_nothing(mount: Path, paths: Sample, backend: str) -> None:
    def look_at_everything() -> None:
        for path in (paths.complicated, paths.deep):
            for directory, _, files in os.walk(mount / path.basename):
                for file in files:
                    os.lstat(f"{directory}/{file}")
                    if not os.path.islink(f"{directory}/{file}"):
                        Path(directory, file).read_bytes()
        os.readlink(mount / paths.link.basename)

    look_at_everything()
    before = requests(mount)
    look_at_everything()
    after = requests(mount)
    asked = {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
    allowed = {"getxattr", "ioctl"}  # the counters themselves, and isatty() of Python
    if backend.startswith("pyfuse3"):  # libfuse opens everything anew, and keeps neither listings nor targets
        allowed |= {"open", "opendir", "readdirplus", "readlink"}
    assert asked.keys() <= allowed, asked


def test_the_kernel_reads_a_mebibyte_ahead(mount: Path, paths: Sample, backend: str) -> None:
    for _ in range(2):  # pyfuse3's engine says it between the first request and the second
        requests(mount)
    device = (mount / paths.file.basename).stat().st_dev
    setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    usual = backend == "pyfuse3-nobody"  # only root may say how far
    assert setting.read_text() == ("128\n" if usual else "1024\n")
