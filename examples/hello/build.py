"""Builds the closure of this example with stock Nix: `.cache/hello/{INFO.json,store,ROOT}`.

Debian's packages are downloaded with apt-get (nothing is installed), moved into a private Nix store by `default.nix`, and
described by `nix path-info`. What was built from the same packages and files is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
CACHE = CHECKOUT / ".cache/hello"
RECIPE = ("packages.txt", "default.nix", "move.sh", "tour", "tour.sh", "build.py")

# The tools of this machine that the recipe uses are seen in Nix's sandbox. One user builds, so no build users are needed.
CONFIGURATION = """
build-users-group =
experimental-features = nix-command
sandbox-paths = /usr /bin /lib /lib64
substituters =
"""


def build() -> Path:
    """The directory with the closure, built if it isn't there."""
    wanted = _recipe_digest()
    recipe = CACHE / "recipe"
    if (CACHE / "INFO.json").is_file() and recipe.is_file() and recipe.read_text() == wanted:
        return CACHE
    print("Building the example closure with Nix", file=sys.stderr)
    _download()
    _remove(CACHE / "nix")
    (CACHE / "INFO.json").unlink(missing_ok=True)
    nix = Nix()
    root = nix.run("nix-build", "--no-out-link", str(HERE / "default.nix"), "--arg", "debs", str(CACHE / "debs")).strip()
    root = root.removeprefix(str(CACHE / "nix"))
    info = json.loads(nix.run("nix", "path-info", "-r", "--json", root))
    link = CACHE / "store"
    link.unlink(missing_ok=True)
    link.symlink_to("nix/nix/store")
    (CACHE / "ROOT").write_text(f"{root}\n")
    recipe.write_text(wanted)
    (CACHE / "INFO.json").write_text(json.dumps(info, indent=2) + "\n")
    return CACHE


def _recipe_digest() -> str:
    total = hashlib.sha256()
    for name in RECIPE:
        total.update((HERE / name).read_bytes() + b"\0")
    return total.hexdigest()


def _download() -> None:
    """Fetch the packages that aren't there yet, all of them at once."""
    debs = CACHE / "debs"
    packages = (HERE / "packages.txt").read_text().split()
    missing = [package for package in packages if not list(debs.glob(f"{package}_*.deb"))]
    if missing:
        subprocess.run([sys.executable, CHECKOUT / "packaging/debian.py", debs, *missing], check=True, stdout=subprocess.DEVNULL)


class Nix:
    """Stock Nix with a store, a configuration and a home of its own, so that this machine's Nix is neither used nor changed.

    The store lies in `.cache/hello/nix`. Where user namespaces are allowed Nix's sandbox makes it appear at /nix; where they
    aren't, as in a chroot, root binds it there for as long as Nix runs.
    """

    def __init__(self) -> None:
        self._sandboxed = subprocess.run(["unshare", "--user", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
        private = CACHE / "nix-private"
        private.mkdir(parents=True, exist_ok=True)
        (private / "nix.conf").write_text(f"{CONFIGURATION}sandbox = {str(self._sandboxed).lower()}\n")
        path = os.environ.get("PATH", "/usr/bin:/bin")
        self._environment = {"PATH": path, "HOME": str(private), "NIX_CONF_DIR": str(private), "LC_ALL": "C"}

    def run(self, *words: str) -> str:
        """What a command of Nix prints."""
        if self._sandboxed:
            return _run([*words, "--store", f"local?root={CACHE / 'nix'}"], self._environment)
        if os.geteuid() != 0:
            sys.exit("error: Nix can't build here: user namespaces are not allowed, and without them this takes root")
        place = CACHE / "nix/nix"
        place.mkdir(parents=True, exist_ok=True)
        script = 'mkdir -p /nix && mount --bind "$0" /nix && { "$@"; status=$?; umount /nix; exit $status; }'
        # In a chroot the root isn't a mount, so its propagation can't be changed: what is mounted may be seen outside until then.
        return _run(["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script, str(place), *words], self._environment)


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _remove(store: Path) -> None:
    """Remove a Nix store, whose directories are read-only."""
    if store.exists():
        subprocess.run(["chmod", "-R", "u+w", store], check=True)
        shutil.rmtree(store)


if __name__ == "__main__":
    build()
