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
sandbox = true
sandbox-paths = /usr /bin /lib /lib64
substituters =
"""


def build() -> Path:
    """The directory with the closure, built if it isn't there."""
    wanted = _recipe_digest()
    if (CACHE / "INFO.json").is_file() and (CACHE / "recipe").read_text() == wanted:
        return CACHE
    print("Building the example closure with Nix", file=sys.stderr)
    _download()
    _remove(CACHE / "nix")
    (CACHE / "INFO.json").unlink(missing_ok=True)
    environment = _nix_environment()
    store = f"local?root={CACHE / 'nix'}"
    command = ["nix-build", "--store", store, "--no-out-link", str(HERE / "default.nix"), "--arg", "debs", str(CACHE / "debs")]
    root = _run(command, environment).strip().removeprefix(str(CACHE / "nix"))
    info = json.loads(_run(["nix", "path-info", "--store", store, "-r", "--json", root], environment))
    link = CACHE / "store"
    link.unlink(missing_ok=True)
    link.symlink_to("nix/nix/store")
    (CACHE / "ROOT").write_text(f"{root}\n")
    (CACHE / "recipe").write_text(wanted)
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


def _nix_environment() -> dict[str, str]:
    """A configuration, a home and state of its own, so that this machine's Nix is neither used nor changed."""
    private = CACHE / "nix-private"
    private.mkdir(parents=True, exist_ok=True)
    (private / "nix.conf").write_text(CONFIGURATION)
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(private),
        "NIX_CONF_DIR": str(private),
        "LC_ALL": "C",
    }


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command[:2])} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _remove(store: Path) -> None:
    """Remove a Nix store, whose directories are read-only."""
    if store.exists():
        subprocess.run(["chmod", "-R", "u+w", store], check=True)
        shutil.rmtree(store)


if __name__ == "__main__":
    build()
