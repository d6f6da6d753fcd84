"""Boots of the example closure in QEMU, timed from the outside."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any

from tests.bench.program import TVIX

ROOT = Path(__file__).parents[2]
HELLO = ROOT / ".cache/hello"
KERNELS = ROOT / ".cache/kernels"
PROFILES = {"initrd-minimal": "grpc+http", "initrd-tiny": "tvix+tcp"}
"""By name, the scheme that each speaks in these boots."""
SECONDS = 90
"""That a boot may take before it counts as failed."""


@dataclass
class Boot:
    """What a machine said. `first_line` is seconds from QEMU's start to the first line that begins with the mark, `whole` to its
    end."""

    first_line: float = 0.0
    whole: float = 0.0
    lines: list[str] = field(default_factory=list)

    @property
    def worked(self) -> bool:
        """Whether the first line came."""
        return self.first_line > 0

    def step(self, name: str) -> dict[str, Any]:
        """The last record of a step of the boot."""
        records = [json.loads(line[5:]) for line in self.lines if line.startswith("tvix {")]
        return next(record for record in reversed(records) if record["step"] == name)


def boot(initrd: Path, command_line: str, mark: str, *, memory: int = 384, kernel: str = "6.1") -> Boot:
    """Boot once and wait until the machine is off."""
    machine = ["-accel", "tcg", "-cpu", "max", "-machine", "q35", "-smp", "2", "-m", str(memory), "-no-reboot"]
    network = ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]
    devices = ["-nodefaults", "-display", "none", "-serial", "stdio", *network]
    system = [
        "-kernel",
        str(KERNELS / kernel / "vmlinuz"),
        "-initrd",
        str(initrd),
        "-append",
        f"console=ttyS0 quiet panic=-1 {command_line}",
    ]
    seen = Boot()
    started = time.perf_counter()
    command = ["qemu-system-x86_64", *machine, *devices, *system]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as qemu:
        watchdog = Timer(SECONDS, qemu.kill)
        watchdog.start()
        assert qemu.stdout is not None
        for raw in qemu.stdout:
            line = raw.decode(errors="replace").strip()
            seen.lines.append(line)
            if line.startswith(mark) and not seen.worked:
                seen.first_line = time.perf_counter() - started
        watchdog.cancel()
    seen.whole = time.perf_counter() - started
    return seen


class Served:
    """The example closure, imported into a store that is served on the loopback."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="tvix-bench-")
        store = f"pack:{self._directory.name}/store"
        root = (HELLO / "ROOT").read_text().strip()
        importing = [TVIX, "store", "import-closure", "--store", store, "--nix-store", str(HELLO / "store")]
        subprocess.run([*importing, "--progress", "quiet", str(HELLO / "INFO.json")], check=True, stdout=subprocess.DEVNULL)
        closure = subprocess.run([TVIX, "store", "closure", "--store", store, root], check=True, stdout=subprocess.PIPE, text=True)
        serve = [
            TVIX,
            "store",
            "serve",
            "--store",
            store,
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "tvix+tcp://127.0.0.1:0",
            "--read-only",
            "--json",
            "--progress",
            "quiet",
        ]
        self._server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        addresses = json.loads(self._server.stdout.readline())["addresses"]
        self._ports = dict(zip(PROFILES, (address.rpartition(":")[2] for address in addresses), strict=True))
        self._root = closure.stdout.strip()
        info = json.loads((HELLO / "INFO.json").read_text())
        self._paths = {item["path"].partition("-")[2]: item["path"] for item in info}
        self.hello = self.program("hello", "bin/hello")

    def view(self, profile: str) -> str:
        """The words of the command line that mount it."""
        store = f"{PROFILES[profile]}://10.0.2.2:{self._ports[profile]}"
        return f"tvix.store={store} tvix.root={self._root} tvix.on-failure=poweroff"

    def program(self, package: str, inside: str) -> str:
        """The path of a program of the closure."""
        return f"{self._paths[package]}/{inside}"

    def __enter__(self) -> Served:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.terminate()
        self._server.wait()
        self._directory.cleanup()


def initrd(profile: str, kernel: str) -> Path:
    """The image of a profile with the modules of a kernel."""
    return ROOT / f"dist/{profile}{'' if kernel == '6.1' else '-' + kernel}.img"


def boot_closure(
    served: Served,
    command: str | None = None,
    mark: str = "Hello",
    *,
    memory: int = 384,
    kernel: str = "6.1",
    profile: str = "initrd-minimal",
) -> Boot:
    """Boot on the served closure and run `command`, or its hello."""
    run = f'{served.view(profile)} "tvix.run={command or served.hello}"'
    return boot(initrd(profile, kernel), run, mark, memory=memory, kernel=kernel)
