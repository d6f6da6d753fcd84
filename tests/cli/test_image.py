"""`tvix image initrd`: what it makes and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tvix.testing.site import Site

if TYPE_CHECKING:
    from tests.cli.conftest import Tvix


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """As little as passes for a frozen tree: a static program."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "tvix").write_bytes(Path("/usr/bin/busybox").read_bytes())
    (tree / "tvix").chmod(0o755)
    return tree


def test_it_says_what_it_made(tvix: Callable[..., Any], tree: Path, kernel: Path, tmp_path: Path) -> None:
    made = tmp_path / "image"
    options = ["--kernel-modules", kernel / "modules", "--tree", tree, "-o", made]
    answer = tvix("image", "initrd", *options, "--json").json
    assert answer["output"] == str(made)
    assert answer["size"] == made.stat().st_size
    assert {"fuse", "virtio_net"} <= set(answer["modules"])
    assert "btrfs" not in answer["modules"]
    more = tvix("image", "initrd", *options, "--module", "btrfs", "--json").json
    assert "btrfs" in more["modules"]
    assert tvix("image", "initrd", *options).stdout.startswith(f"{made}: ")


def test_credentials_go_in_when_they_are_right(tvix: Tvix, tree: Path, kernel: Path, tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    made = tmp_path / "image"
    options = ["image", "initrd", "--kernel-modules", kernel / "modules", "--tree", tree, "-o", made, "--credentials"]
    expired = tvix.fails(
        *options, site.expired("reader"), status=77, says="cert.pem: the certificate of tvix://home/reader/old expired"
    )
    assert "tvix tls issue" in expired.stderr
    tvix.fails(*options, tmp_path / "nothing", status=66, says=f"can't read {tmp_path}/nothing/ca.pem")
    exposed = site.issue("reader", "exposed")
    (exposed / "key.pem").chmod(0o644)
    tvix.fails(*options, exposed, status=77, says="lets everyone read it")
    assert not made.exists()
    tvix(*options, site.issue("reader"))
    assert made.stat().st_mode & 0o777 == 0o600


def test_wrong_modules_are_refused(tvix: Callable[..., Any], tree: Path, kernel: Path, tmp_path: Path) -> None:
    output = tmp_path / "image"
    where = ["--tree", tree, "-o", output]
    nowhere = tvix("image", "initrd", "--kernel-modules", tmp_path / "nowhere", *where, status=66)
    assert f"{tmp_path / 'nowhere'}: no kernel modules here" in nowhere.stderr
    unknown = tvix("image", "initrd", "--kernel-modules", kernel / "modules", "--module", "nothing", *where, status=66)
    assert "nothing: no such module in" in unknown.stderr
    assert not output.exists()


def test_a_wrong_tree_is_refused(tvix: Callable[..., Any], kernel: Path, tmp_path: Path) -> None:
    options = ["--kernel-modules", kernel / "modules", "-o", tmp_path / "image", "--tree", tmp_path]
    assert "not a frozen tree" in tvix("image", "initrd", *options, status=66).stderr


def test_an_output_that_can_t_be_written_is_named(tvix: Callable[..., Any], tree: Path, kernel: Path, tmp_path: Path) -> None:
    options = ["--kernel-modules", kernel / "modules", "--tree", tree, "-o", tmp_path / "no/image"]
    assert f"{tmp_path / 'no/image'}: No such file or directory" in tvix("image", "initrd", *options, status=74).stderr


def test_help_shows_an_example(tvix: Callable[..., Any]) -> None:
    shown = tvix("image", "initrd", "--help").stdout
    assert "tvix image initrd --kernel-modules" in shown
