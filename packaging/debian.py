"""Downloads Debian packages without installing them: `debian.py [--suite NAME] [--unpack] DIRECTORY PACKAGE…`.

Uses the machine's own sources. Where its package lists are missing or too old, or another suite is asked for, lists of our own are
fetched into `.cache/apt`; the machine's are left alone, and root isn't needed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).parent.parent / ".cache"


def download(packages: list[str], directory: Path, suite: str | None = None) -> list[Path]:
    """The .deb files of `packages`, in that order, in `directory`. Raises SystemExit with apt's own words."""
    directory.mkdir(parents=True, exist_ok=True)
    options = _private_lists(suite) if suite else []
    failed = _get(packages, directory, options)
    if failed and not suite:
        options = _private_lists(None)
        failed = _get(packages, directory, options)
    if failed:
        sys.exit(f"error: apt-get download {' '.join(packages)}: {failed}")
    return [_newest(directory, package) for package in packages]


def depends(package: Path) -> list[str]:
    """The names of the packages that a .deb depends on."""
    field = subprocess.run(["dpkg-deb", "-f", package, "Depends"], check=True, capture_output=True, text=True).stdout
    return [item.split()[0].split(":")[0] for item in field.split(",") if item.strip()]


def unpack(package: Path, directory: Path) -> None:
    """Unpack a .deb below `directory`; nothing of it is run."""
    subprocess.run(["dpkg-deb", "-x", package, directory], check=True)


def _get(packages: list[str], directory: Path, options: list[str]) -> str:
    """What went wrong, or nothing."""
    command = ["apt-get", *options, "-qq", "-o", "APT::Sandbox::User=root", "download", *packages]
    done = subprocess.run(command, cwd=directory, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def _newest(directory: Path, package: str) -> Path:
    found = sorted(directory.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        sys.exit(f"error: apt-get said it downloaded {package}, but {directory} has no {package}_*.deb")
    return found[-1]


def _private_lists(suite: str | None) -> list[str]:
    """Options that make apt use fresh lists of our own, of `suite` or of the machine's sources."""
    base = (CACHE / "apt" / (suite or "own")).resolve()
    for name in ("lists/partial", "cache/archives/partial"):
        (base / name).mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::lists={base / 'lists'}", "-o", f"Dir::Cache={base / 'cache'}"]
    if suite:
        source = base / "suite.sources"
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        source.write_text(f"Types: deb\nURIs: {_mirror()}\nSuites: {suite}\nComponents: main\nSigned-By: {keyring}\n")
        options += ["-o", f"Dir::Etc::sourcelist={source}", "-o", "Dir::Etc::sourceparts=/dev/null"]
    command = ["apt-get", *options, "-qq", "-o", "APT::Sandbox::User=root", "update"]
    done = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: apt-get update of lists in {base}: {done.stderr.strip()}")
    return options


def _mirror() -> str:
    """Where this machine gets its Debian from."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    # Before the first `apt-get update`, nothing is known of a repository but its place.
    for known in (["Debian", "Debian"], ["", ""]):
        for line in lines:
            *said, uri = line.split("|", 2)
            if said == known:
                return uri
    sys.exit("error: apt has no Debian repository on this machine; /etc/apt/sources.list.d should name one")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--suite", help="a suite other than the machine's own, such as trixie")
    parser.add_argument("--unpack", action="store_true", help="unpack the packages into DIRECTORY")
    parser.add_argument("directory", type=Path)
    parser.add_argument("package", nargs="+")
    arguments = parser.parse_args()
    archives = arguments.directory / ".debs" if arguments.unpack else arguments.directory
    for package in download(arguments.package, archives, arguments.suite):
        print(package)
        if arguments.unpack:
            unpack(package, arguments.directory)


if __name__ == "__main__":
    main()
