"""A stock Nix to compare with: runs its programs on a store of their own, so that nothing of the machine shows.

`StockNix` is one Nix with one private store; `build_nix_226` makes the Debian 13 tree that the newer one lives in. Fixtures over
them are in tests/compat/conftest.py.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

_CONFIGURATION = """\
substituters =
build-users-group =
experimental-features = nix-command
"""
# In a mount namespace of its own: the tree's /proc, /dev and /tmp, and the test's folder under the same path as outside.
_ENTER = """\
set -e
tree=$1 shared=$2; shift 2
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/tmp"
mkdir -p "$tree$shared"
mount --bind "$shared" "$tree$shared"
exec chroot "$tree" "$@"
"""
# libdbi-perl provides a virtual package that nix-bin needs in the end: debootstrap follows no virtual packages.
_DEBOOTSTRAP = ("debootstrap", "--variant=minbase", "--include=ca-certificates,nix-bin,libdbi-perl", "trixie")


class StockNix:
    """Programs of one Nix, on a private store whose files are under `root` and whose paths still begin with /nix/store.

    `folder` is the test's own: HOME and the store lie in it, and what the programs are to see must lie in it too.
    """

    def __init__(self, folder: Path, search_path: str, chroot: Path | None = None) -> None:
        self.folder = folder
        self.root = folder / "nix-root"
        self.url = f"local?root={self.root}"
        self.home = folder / "nix-home"
        self._chroot = chroot
        for made in (self.root, self.home):
            made.mkdir(exist_ok=True)
        self._environment = {
            "PATH": search_path,
            "HOME": str(self.home),
            "LC_ALL": "C",
            "NIX_CONF_DIR": str(self.home),
            "NIX_CONFIG": _CONFIGURATION,
            "NIX_REMOTE": self.url,
        }

    @property
    def store(self) -> Path:
        """Where the files of the private store are: this folder holds the `HASH-NAME` entries."""
        return self.root / "nix" / "store"

    def try_run(self, *command: str | bytes | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run one program, whatever comes of it; `$HOME`, configuration and store are private."""
        words, environment = self.command(*command)
        return subprocess.run(words, input=stdin, capture_output=True, env=environment, check=False)

    def command(self, *command: str | bytes | Path) -> tuple[list[str | bytes | Path], dict[str, str]]:
        """The words and the environment with which a program of this Nix runs, for callers that start it themselves."""
        words = [*command]
        if self._chroot is not None:
            enter = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "enter")
            words = [*enter, self._chroot, self.folder, *command]
        return words, self._environment

    def run(self, *command: str | bytes | Path, stdin: bytes = b"") -> bytes:
        """What a program prints, its last newline included. AssertionError with its complaint where it fails."""
        done = self.try_run(*command, stdin=stdin)
        assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
        return done.stdout

    def line(self, *command: str | bytes | Path, stdin: bytes = b"") -> str:
        """The one line that a program prints, without its newline."""
        return self.run(*command, stdin=stdin).decode().removesuffix("\n")

    def json(self, *command: str | bytes | Path) -> Any:  # noqa: ANN401 (what a foreign program prints has no type)
        """What a program prints, as JSON."""
        return json.loads(self.run(*command))


def build_nix_226(tree: Path) -> Path:
    """Have Debian 13 with its Nix (2.26) in `tree`; made once, under a lock, by debootstrap. Needs root and the Debian mirror."""
    tree.parent.mkdir(parents=True, exist_ok=True)
    with (tree.parent / f"{tree.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            partial = tree.parent / f"{tree.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            done = subprocess.run([*_DEBOOTSTRAP, partial], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"debootstrap: {done.stdout[-2000:]}{done.stderr[-2000:]}"
            shutil.rmtree(partial / "var" / "cache" / "apt" / "archives", ignore_errors=True)
            partial.rename(tree)
    return tree
