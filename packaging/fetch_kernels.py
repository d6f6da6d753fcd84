"""Fetches the kernels that tests and the demo boot: `.cache/kernels/{6.1,6.12}/{vmlinuz,modules}`.

6.1 is Debian 12's kernel for virtual machines, where FUSE is a module; 6.12 is Debian 13's, where it is built in. `modules` is a
`lib/modules/VERSION` as `tvix image initrd --kernel-modules` takes it. User-mode Linux comes with the package `user-mode-linux`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import debian

KERNELS = debian.CACHE / "kernels"
META_PACKAGE = "linux-image-cloud-amd64"


SUITES = {"6.1": None, "6.12": "trixie"}
"""Where each kernel comes from; None is the machine's own sources."""


def fetch(name: str) -> None:
    """Make `.cache/kernels/NAME` whole or not at all."""
    suite = SUITES[name]
    target = KERNELS / name
    if target.exists():
        return
    KERNELS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KERNELS, prefix=f".{name}-") as directory:
        work = Path(directory)
        (meta,) = debian.download([META_PACKAGE], work, suite)
        (image,) = (package for package in debian.depends(meta) if package.startswith("linux-image-"))
        print(f"Downloading Debian's {image}", file=sys.stderr)
        (archive,) = debian.download([image], work, suite)
        debian.unpack(archive, work / "unpacked")
        (kernel,) = (work / "unpacked/boot").glob("vmlinuz-*")
        (modules,) = (path.parent for path in work.glob("unpacked/**/lib/modules/*/modules.builtin"))
        made = work / "made"
        made.mkdir()
        shutil.move(kernel, made / "vmlinuz")
        shutil.move(modules, made / "modules")
        (made / "version").write_text(kernel.name.removeprefix("vmlinuz-") + "\n")
        made.rename(target)


if __name__ == "__main__":
    for name in sys.argv[1:] or SUITES:
        fetch(name)
