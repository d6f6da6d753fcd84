"""Nix 2.26 refuses the archives that we refuse, but for a list; and takes the trees that we write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvix.testing.bad_nars import BAD_NARS
from tvix.testing.stock_nix import StockNix

pytestmark = [pytest.mark.nix, pytest.mark.root]

# Where we are stricter. Nix leaves it to its caller what follows an archive, cuts a target at its NUL, and limits depth since 2026.
TAKEN_BY_NIX = {
    "a byte after a file",
    "a byte after a directory",
    "two archives",
    "a megabyte of zeros after",
    "a closing too many",
    "NUL in a target",
    "a file 65 deep",
    "a directory 65 deep",
}
# So deep that removing what it restores would be a test of its own.
TOO_DEEP_TO_TRY = {"a hundred thousand deep", "never closed"}
RESTORE_ALL = """
for number in $(seq 0 "$2"); do
  nix-store --restore "$1/$number.tree" < "$1/$number.nar" 2> /dev/null
  echo $?
done
"""


def test_bad_archives_are_judged_as_nix_226_does_but_for_a_list(nix226: StockNix, tmp_path: Path) -> None:
    tried = [what for what in BAD_NARS if what not in TOO_DEEP_TO_TRY]
    for number, what in enumerate(tried):
        (tmp_path / f"{number}.nar").write_bytes(BAD_NARS[what][1])
    statuses = nix226.run("sh", "-c", RESTORE_ALL, "sh", tmp_path, str(len(tried) - 1)).split()
    assert len(statuses) == len(tried)
    assert {what for what, status in zip(tried, statuses, strict=True) if status == b"0"} == TAKEN_BY_NIX
