"""The archive writer, against GNU cpio and bytes written out by hand."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initrd import cpio

if TYPE_CHECKING:
    from pathlib import Path


def archive(*entries: cpio.Entry) -> bytes:
    output = io.BytesIO()
    assert cpio.write(entries, output) == output.tell()
    return output.getvalue()


def test_one_file_byte_for_byte() -> None:
    header = b"070701" + b"00000001" + b"000081A4" + b"00000000" * 2 + b"00000001" + b"00000001" + b"00000003"
    header += b"00000000" * 4 + b"00000002" + b"00000000"
    trailer = b"070701" + b"00000000" * 4 + b"00000001" + b"00000000" * 6 + b"0000000B" + b"00000000" + b"TRAILER!!!\0"
    expected = header + b"a\0" + b"abc\0" + trailer + bytes(-len(trailer) % 4)
    assert archive(cpio.regular("a", b"abc")) == expected


def test_gnu_cpio_unpacks_the_same(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(3_000_001))
    made = archive(
        cpio.directory("d"),
        cpio.regular("d/program", b"#!/bin/sh\n", executable=True),
        cpio.regular("d/big", big),
        cpio.symlink("link", "d/program"),
        cpio.regular("empty", b""),
    )
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["cpio", "-idm", "--quiet"], input=made, cwd=out, check=True)
    assert (out / "d/program").read_bytes() == b"#!/bin/sh\n"
    assert stat.S_IMODE((out / "d/program").stat().st_mode) == 0o755
    assert (out / "d/big").read_bytes() == big.read_bytes()
    assert os.readlink(out / "link") == "d/program"
    assert (out / "empty").stat().st_size == 0
    assert (out / "empty").stat().st_mtime == cpio.MTIME


@pytest.mark.root
def test_gnu_cpio_makes_the_device_nodes(tmp_path: Path) -> None:
    made = archive(cpio.directory("dev"), cpio.character_device("dev/console", 0o600, 5, 1))
    subprocess.run(["cpio", "-idm", "--quiet"], input=made, cwd=tmp_path, check=True)
    status = (tmp_path / "dev/console").stat()
    assert stat.S_ISCHR(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == (5, 1)


def test_order_and_repetition_of_entries_don_t_show() -> None:
    one, two, three = cpio.directory("a"), cpio.regular("a/x", b"1"), cpio.regular("b", b"2")
    assert archive(three, two, one) == archive(one, two, three) == archive(cpio.regular("b", b"replaced"), one, two, three)


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "./a", "a/..", "a\0b"])
def test_names_that_aren_t_plain_are_refused(name: str) -> None:
    with pytest.raises(cpio.UnsuitableEntry, match="not a plain relative path"):
        archive(cpio.directory("a"), cpio.regular(name, b""))


@pytest.mark.parametrize("parent", [cpio.regular("a", b""), cpio.symlink("a", "c")])
def test_names_below_what_is_no_directory_are_refused(parent: cpio.Entry) -> None:
    with pytest.raises(cpio.UnsuitableEntry, match="a is not a directory"):
        archive(parent, cpio.directory("c"), cpio.regular("a/b", b""))


def test_files_of_4_gib_are_refused(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(2**32)
    with pytest.raises(cpio.UnsuitableEntry, match="4294967296 bytes"):
        archive(cpio.regular("sparse", sparse))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path, change: int) -> None:
    changing = tmp_path / "changing"
    changing.write_bytes(bytes(10))

    class Changing(io.BytesIO):
        def write(self, data: object) -> int:
            os.truncate(changing, 10 + change)
            return super().write(data)  # type: ignore[arg-type]

    with pytest.raises(cpio.UnsuitableEntry, match="changed while it was read"):
        cpio.write([cpio.regular("changing", changing)], Changing())


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cc"]), min_size=1, max_size=30)


@given(st.dictionaries(NAMES.filter(lambda name: name not in {".", ".."}), st.binary(max_size=100), max_size=8))
def test_whatever_is_written_can_be_listed(files: dict[str, bytes]) -> None:
    made = archive(*(cpio.regular(name, content) for name, content in files.items()))
    listed = subprocess.run(["cpio", "-t", "--quiet"], input=made, capture_output=True, check=True).stdout
    assert listed.decode().splitlines() == sorted(files)
    assert len(made) % 4 == 0
