"""Where a mount can be put, and what is mounted already, as this process sees it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tvix.mount import attach
from tvix.mount.engines import choice

MOUNTINFO = (
    b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    b"30 22 0:41 / /mnt/with\\040space\\134and\\303\\251 ro shared:7 master:2 - fuse.tvix tvix ro,user_id=0\n"
    b"31 22 0:42 / /plain ro - tmpfs none rw\n"
)


def test_mounts_are_read_whatever_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_bytes(MOUNTINFO)
    monkeypatch.setattr(attach, "open", lambda _path, mode: (tmp_path / "mountinfo").open(mode), raising=False)
    found = list(attach.mounts())
    assert found == [
        ("/", "ext4", "254:0"),
        ("/mnt/with space\\and" + os.fsdecode("é".encode()), "fuse.tvix", "0:41"),
        ("/plain", "tmpfs", "0:42"),
    ]


@pytest.mark.parametrize(
    ("release", "fits"),
    [("4.19.0-27-amd64", False), ("4.20", True), ("5.0-rc1", True), ("3.10.0", False), ("10.1.2", True), ("strange", False)],
)
def test_our_own_loop_wants_a_kernel_of_2018(monkeypatch: pytest.MonkeyPatch, release: str, fits: bool) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    monkeypatch.setattr(choice, "_may_mount", lambda: True)
    reason = choice._why_not_fuse()
    assert reason == ("" if fits else f"Linux {release} is older than 4.20")
