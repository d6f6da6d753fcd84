"""Makes the initrds that tests and the demo boot, `dist/NAME.img`, through `tvix image initrd`. What is current stays."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
KERNELS = ROOT / ".cache/kernels"
UML_MODULES = Path("/usr/lib/uml/modules")


IMAGES = {
    "initrd-minimal": ("initrd-minimal", "6.1"),
    "initrd-minimal-6.12": ("initrd-minimal", "6.12"),
    "initrd-uml": ("initrd-minimal", "uml"),
    "initrd-tiny": ("initrd-tiny", "6.1"),
    "initrd-tiny-6.12": ("initrd-tiny", "6.12"),
    "initrd-tiny-uml": ("initrd-tiny", "uml"),
}
"""By name: the profile, and the kernel whose modules are in it."""


def _modules(kernel: str) -> Path:
    if kernel == "uml":
        (version,) = UML_MODULES.iterdir()
        return version
    return KERNELS / kernel / "modules"


def make(name: str) -> None:
    """Make one image, unless it was made from the same things."""
    profile, kernel = IMAGES[name]
    modules, source = _modules(kernel), _source(profile)
    target = ROOT / f"dist/{name}.img"
    made_from = ROOT / f"build/freeze/{name}.inputs"
    inputs = f"{source} {modules.resolve()} {(modules / 'modules.order').stat().st_mtime_ns}"
    if target.exists() and made_from.is_file() and made_from.read_text() == inputs:
        return
    made_from.unlink(missing_ok=True)
    options = ["--kernel-modules", str(modules), "--profile", profile, "-o", f"dist/{name}.img", "--progress", "quiet"]
    command = [sys.executable, "-m", "appliance", "image", "initrd", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    made_from.write_text(inputs)


def _source(profile: str) -> str:
    """A digest over the tree and the code that packs it."""
    total = hashlib.sha256((ROOT / f"build/freeze/{profile}.inputs").read_bytes())
    for path in sorted((ROOT / "initrd").glob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


if __name__ == "__main__":
    for name in sys.argv[1:] or IMAGES:
        make(name)
