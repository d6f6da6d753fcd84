"""The module index and its patterns."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.boot.modules import Modules, NoFeature, matches

TEXT = st.text("ab:", max_size=8)
PATTERN = st.text("ab:*", max_size=8)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("virtio:d00000001v*", "virtio:d00000001v00001AF4", True),
        ("pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00", True),
        ("pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00008086d00001041sv00001AF4sd00001100bc02sc00i00", False),
        ("fs-fuse", "fs-fuse", True),
        ("a*a", "a", False),
    ],
)
def test_matches(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@given(PATTERN, TEXT)
def test_matches_as_fnmatch_does(pattern: str, text: str) -> None:
    assert matches(pattern, text) == fnmatchcase(text, pattern)


def test_a_missing_module_file_is_logged_and_passed_over(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("module fuse fuse.ko\nalias fs-fuse fuse\n")
    notes: list[str] = []
    modules = Modules(str(tmp_path), log=notes.append)
    assert not modules.load("fuse")
    assert notes == ["module fuse.ko: No such file or directory"]
    assert modules.loaded == []


def test_a_file_system_that_is_there_needs_no_module(tmp_path: Path) -> None:
    Modules(str(tmp_path)).need_filesystem("tmpfs")


def test_a_file_system_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoFeature, match="file system nofs"):
        Modules(str(tmp_path)).need_filesystem("nofs")
