"""Wrong input gets one line of error, the documented exit code, and leaves nothing half-written."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Tvix

ABSENT = "/nix/store/00000000000000000000000000000000-absent"
QUIET = ("--progress", "quiet")


@pytest.mark.parametrize("kind", ["fifo", "socket"])
@pytest.mark.parametrize("verb", [("store", "import"), ("hash", "path")], ids=" ".join)
def test_special_file(tvix: Tvix, tree: Path, kind: str, verb: tuple[str, ...]) -> None:
    odd = tree / "bin" / "odd"
    if kind == "fifo":
        os.mkfifo(odd)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(odd))
    tvix.fails(*verb, tree, status=65, says=f"{odd} is a {'named pipe' if kind == 'fifo' else 'socket'}")
    _nothing_is_stored(tvix)


@pytest.mark.root
@pytest.mark.parametrize("verb", [("store", "import"), ("hash", "path")], ids=" ".join)
def test_unreadable_file(tvix: Tvix, tree: Path, verb: tuple[str, ...]) -> None:
    secret = tree / "bin" / "secret"
    secret.write_text("x")
    secret.chmod(0)
    for folder in [tvix.home, *tree.parents]:
        if folder.stat().st_mode & 0o007 != 0o007 and folder.is_relative_to("/tmp"):
            folder.chmod(0o777)
    tvix.fails(*verb, tree, status=66, says=f"{secret} can't be read: Permission denied", user=65534)


@pytest.mark.parametrize("verb", [("store", "import"), ("hash", "path"), ("store", "import-nar", "--name", "x")], ids=" ".join)
def test_path_that_is_not_there(tvix: Tvix, tmp_path: Path, verb: tuple[str, ...]) -> None:
    tvix.fails(*verb, tmp_path / "nowhere", status=66, says=f"{tmp_path}/nowhere")
    if verb[0] == "store":
        _nothing_is_stored(tvix)


VERBS_OF_PATHS = [("path-info",), ("store", "closure"), ("store", "ls"), ("store", "cat"), ("store", "export", "--nar", "-")]


@pytest.mark.parametrize(
    "text", ["hello", "/nix/store", "/nix/store/short-x", "/usr/bin/x", ABSENT.replace("0", "e"), ABSENT + "\n"]
)
def test_not_a_store_path(tvix: Tvix, text: str) -> None:
    tvix.fails("path-info", "--store", "memory:", text, status=65, says="is not a store path")


@pytest.mark.parametrize("verb", VERBS_OF_PATHS, ids=" ".join)
def test_store_path_that_is_none_or_unknown(tvix: Tvix, verb: tuple[str, ...]) -> None:
    tvix.fails(*verb, "--store", "memory:", "/nix/store/hello", status=65, says="is not a store path")
    tvix.fails(*verb, "--store", "memory:", ABSENT, status=66, says=f"{ABSENT} is not in the store")


def test_digest_under_another_name_is_unknown(tvix: Tvix, tree: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    tvix.fails("path-info", path + "x", status=66, says=f"{path}x is not in the store")


def test_store_that_is_not_there(tvix: Tvix, tmp_path: Path) -> None:
    tvix.fails("store", "ls", status=66, says=f"there is no store at {tvix.home}/.local/share/tvix/store")
    tvix.fails(
        "store", "ls", "--store", f"pack:{tmp_path}/typing-error", status=66, says=f"there is no store at {tmp_path}/typing-error"
    )
    assert not (tmp_path / "typing-error").exists()
    assert not (tvix.home / ".local").exists()


def test_store_that_is_something_else(tvix: Tvix, tree: Path) -> None:
    tvix.fails("store", "import", "--store", f"pack:{tree}", tree, status=66, says=f"{tree} is not a pack store")
    tvix.fails("store", "ls", "--store", f"pack:{tree}/README", status=66, says=f"{tree}/README is not a pack store")


def test_inside_of_a_store_path(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    tvix.fails("store", "ls", f"{path}/nothing", status=66, says=f"{path} has no nothing")
    tvix.fails("store", "ls", f"{path}/link/x", status=66, says=f"{path} has no link/x")
    tvix.fails("store", "ls", f"{path}/../x", status=65, says="it means another directory")
    tvix.fails("store", "cat", f"{path}/bin", status=65, says=f"{path}/bin is a directory, not a file")
    tvix.fails("store", "cat", f"{path}/README", f"{path}/link", status=65, says=f"{path}/link is a symlink, not a file")
    tvix.fails("store", "export", f"{path}/nothing", tmp_path / "out", status=66, says="has no nothing")
    assert not (tmp_path / "out").exists()


def test_destination_exists(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    (tmp_path / "there").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("there", "folder", "dangling"):
        tvix.fails("store", "export", path, tmp_path / name, status=77, says=f"{tmp_path}/{name} exists already")
        tvix.fails("store", "export", "--nar", tmp_path / name, path, *QUIET, status=77, says=f"{tmp_path}/{name} exists already")
    assert (tmp_path / "there").read_text() == "mine"
    assert list((tmp_path / "folder").iterdir()) == []
    assert not list(tmp_path.glob(".tvix-*"))


def test_destination_in_no_directory(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    tvix.fails("store", "export", path, tmp_path / "no/where", status=66, says=f"nothing can be written to {tmp_path}/no/where")
    tvix.fails(
        "store", "export", "--nar", tmp_path / "no/where", path, status=66, says=f"nothing can be written to {tmp_path}/no/where"
    )


def test_export_wants_one_destination(tvix: Tvix) -> None:
    tvix.fails("store", "export", "--store", "memory:", ABSENT, status=64, says="give either DEST or --nar FILE")
    tvix.fails("store", "export", "--store", "memory:", ABSENT, "x", "--nar", "y", status=64, says="give either DEST or --nar FILE")


def test_truncated_nar(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    tvix("store", "export", "--nar", tmp_path / "nar", path)
    nar = (tmp_path / "nar").read_bytes()
    other = ("--store", f"pack:{tmp_path}/other", "--name", "hello", *QUIET)
    for size in (0, 7, 24, len(nar) // 2, len(nar) - 1):
        tvix.fails("store", "import-nar", *other, status=65, says="the NAR is not valid at byte", stdin=nar[:size])
    tvix.fails("store", "import-nar", *other, status=65, says="the NAR is not valid at byte", stdin=nar + b"\0" * 8)
    assert tvix("store", "ls", *other[:2]).lines == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.root
def test_full_disk(tvix: Tvix, tree: Path, small_disk: Path) -> None:
    (tree / "large").write_bytes(os.urandom(2 << 20))
    path = tvix("store", "import", tree).lines[0]
    tvix.fails("store", "export", path, small_disk / "out", status=74, says="no space is left")
    tvix.fails("store", "export", "--nar", small_disk / "out.nar", path, *QUIET, status=74, says="no space is left")
    assert list(small_disk.iterdir()) == []


@pytest.mark.root
def test_store_on_a_full_disk(tvix: Tvix, tree: Path, small_disk: Path) -> None:
    store = ("--store", f"pack:{small_disk}/store")
    tvix("store", "import", *store, tree / "README")
    before = tvix("store", "ls", *store).lines
    (tree / "large").write_bytes(os.urandom(2 << 20))
    tvix.fails("store", "import", *store, *QUIET, tree, status=74, says="no space is left")
    assert tvix("store", "ls", *store).lines == before
    assert tvix("store", "cat", *store, f"{before[0]}").stdout == "Read me.\n"


def test_server_that_is_away(tvix: Tvix, tree: Path) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"grpc+http://127.0.0.1:{unused.getsockname()[1]}?deadline=0.5"
        tvix.fails("store", "ls", "--store", address, status=69, says="can't be reached")
        tvix.fails("path-info", "--store", address, ABSENT, status=69, says="can't be reached")
        tvix.fails("store", "import", "--store", address, *QUIET, tree, status=69, says="can't be reached")


@pytest.mark.root
@pytest.mark.fuse
def test_program_from_a_server_that_is_away(tvix: Tvix) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"grpc+http://127.0.0.1:{unused.getsockname()[1]}?deadline=0.5"
        tvix.fails("run", "--store", address, f"{ABSENT}/bin/x", status=69, says=f"{ABSENT}/bin/x can't be read: ")


@pytest.mark.root
@pytest.mark.fuse
@pytest.mark.nix
def test_nothing_of_ours_gets_into_the_environment_of_a_program(tvix: Tvix, hello_closure: Path) -> None:
    tvix("store", "import-closure", "--nix-store", hello_closure / "store", hello_closure / "INFO.json")
    coreutils = next(path for path in tvix("store", "ls").lines if path.endswith("-coreutils"))
    with tvix.serving() as (address, *_):
        seen = tvix("run", "--store", address, f"{coreutils}/bin/env").lines
    assert sorted(line for line in seen if not line.startswith("_=")) == sorted(
        f"{name}={value}" for name, value in tvix.command_environment.items() if name != "_"
    )


@pytest.mark.parametrize(
    ("listen", "status", "says"),
    [
        ("localhost", 64, "it has no port"),
        ("127.0.0.1:x", 64, "'x' is not a port"),
        ("unix:relative", 64, "the path of a socket is absolute"),
        ("0.0.0.0:0", 64, "can be reached from other machines"),
        ("192.0.2.1:1", 64, "can be reached from other machines"),
        ("unix:/nonexistent/socket", 69, "can't listen on unix:/nonexistent/socket"),
    ],
)
def test_address_that_cannot_be_served(tvix: Tvix, tmp_path: Path, listen: str, status: int, says: str) -> None:
    store = tmp_path / "store"
    tvix.fails("store", "serve", "--store", f"pack:{store}", "--listen", listen, *QUIET, status=status, says=says)
    assert status != 64 or not store.exists()


def test_port_in_use(tvix: Tvix) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as used:
        listen = f"127.0.0.1:{used.getsockname()[1]}"
        tvix.fails("store", "serve", "--store", "memory:", "--listen", listen, status=69, says=f"can't listen on {listen}")


def test_usage_of_insecure(tvix: Tvix) -> None:
    words = ("store", "serve", "--store", "memory:", "--listen", "127.0.0.1:0", "--insecure=all")
    tvix.fails(*words, status=64, says="invalid choice: 'all'")


def _nothing_is_stored(tvix: Tvix) -> None:
    if (tvix.home / ".local/share/tvix/store").exists():
        assert tvix("store", "ls").lines == []
