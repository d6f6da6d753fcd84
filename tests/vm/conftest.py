"""One namespace, one store and one server for each worker, and the programs that machines run out of the store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import Machine, Namespace

PROGRAM = Path(sys.executable).with_name("tvix")
LARGE_BYTES = 4 << 20


class Closure(NamedTuple):
    """Store paths in the store that machines mount. `root` pins them all."""

    busybox: str
    scripts: str
    large: str
    root: str

    def run(self, *arguments: str) -> str:
        """The command line's word for running an applet of busybox."""
        return f'tvix.run="{self.busybox}/bin/busybox {" ".join(arguments)}"'


@pytest.fixture(scope="session")
def namespace(worker_id: str) -> Iterator[Namespace]:
    made = harness.Namespace(f"tvix-vm-{os.getpid()}-{worker_id}")
    yield made
    made.close()


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """Which of xdist's workers this is."""
    return getattr(request.config, "workerinput", {}).get("workerid", "main")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"pack:{tmp_path_factory.mktemp('store') / 'pack'}"


@pytest.fixture(scope="session")
def closure(tmp_path_factory: pytest.TempPathFactory, store: str) -> Closure:
    work = tmp_path_factory.mktemp("closure")
    (work / "busybox/bin").mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", work / "busybox/bin/busybox")
    for applet in ("sh", "cat", "ls"):
        (work / f"busybox/bin/{applet}").symlink_to("busybox")
    (busybox,) = _tvix(store, "store", "import", work / "busybox")
    (work / "large").mkdir()
    (work / "large/zeros").write_bytes(b"\1" * LARGE_BYTES)
    (work / "large/word").write_text("read lazily after the hand-over\n")
    (large,) = _tvix(store, "store", "import", work / "large")
    scripts = work / "scripts"
    scripts.mkdir()
    shell = f"#!{busybox}/bin/sh\n"
    _script(
        scripts / "init",
        f"{shell}set -e\nPATH={busybox}/bin\necho init: pid $$ args $*\ncat {large}/word\n{_PROCESSES}\nbusybox poweroff -f\n",
    )
    box = f"{busybox}/bin/busybox"
    look = f"if {box} grep -l ') Z ' /proc/[0-9]*/stat; then exit 9; fi"
    _script(scripts / "orphans", f"{shell}( ( {box} true & ) )\n{box} sleep 0.3\n{look}\n")
    _script(scripts / "lost", "#!/nix/store/00000000000000000000000000000000-nothing/bin/sh\n")
    (scripts / "plain").write_text("not a program\n")
    shutil.copy("/bin/true", scripts / "dynamic")
    (made,) = _tvix(store, "store", "import", scripts)
    (root,) = _tvix(store, "store", "closure", busybox, large, made)
    return Closure(busybox, made, large, root)


# What a shutdown that kills everything would spare: processes whose arguments begin with @.
_PROCESSES = (
    'for p in /proc/[0-9]*/cmdline; do case "$(busybox tr "\\\\0" " " < $p 2>/dev/null)" in @*) echo spared: $p;; esac; done'
)


@pytest.fixture(scope="session")
def server(namespace: Namespace, store: str, closure: Closure) -> Iterator[harness.Server]:
    """Depends on the closure, since what is served should be there."""
    del closure
    made = harness.Server(namespace, store)
    yield made
    made.close()


@pytest.fixture(scope="session")
def dhcp(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Dhcp]:
    made = harness.Dhcp(namespace, tmp_path_factory.mktemp("dhcp"))
    yield made
    made.close()


@pytest.fixture
def boot(namespace: Namespace, uml_initrd: Path) -> Iterator[Callable[..., Machine]]:
    """Boots user-mode Linux with words of the kernel command line. A machine that is still on after the test is switched off."""
    machines: list[Machine] = []

    def start(*words: str) -> Machine:
        machines.append(harness.boot_uml(namespace, uml_initrd, words))
        return machines[-1]

    yield start
    for machine in machines:
        machine.kill()


def _tvix(store: str, *words: str | Path) -> list[str]:
    command = [PROGRAM, *words, "--store", store]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
