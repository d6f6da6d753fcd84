"""`make demo`: serves the example closure from a store, and boots a virtual machine that runs a program out of it.

The machine is emulated (no KVM is needed), has a kernel of Debian's, our smallest initrd, a network card, and no disk. It and the
server show each other certificates of a site that is made for the occasion. What it may see is what a key has signed whose public
half is on its command line. Everything it says goes to `.cache/demo/console.log`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parent.parent.parent
HELLO = CHECKOUT / ".cache/hello"
DEMO = CHECKOUT / ".cache/demo"
KERNEL = CHECKOUT / ".cache/kernels/6.1/vmlinuz"
INITRD = CHECKOUT / "dist/initrd-tiny.img"
OWN_INITRD = DEMO / "initrd.img"
"""With the machine's certificate in it."""
TVIX = CHECKOUT / ".venv/bin/tvix"
QEMU = "qemu-system-x86_64"
TIMEOUT = 180
"""Seconds that the machine may take; usually it takes ten."""
HOST_SEEN_BY_GUEST = "10.0.2.2"
STEPS = {
    "mounts": "Linux is up, and our program is its first process",
    "modules": "drivers are loaded",
    "network": "the network has an address, by DHCP",
    "mount": "/nix/store is mounted from the server",
}


class Failed(Exception):
    """The demo didn't do what it shows."""


def main() -> int:
    """Show it; the exit status says whether it worked."""
    try:
        shutil.rmtree(DEMO, ignore_errors=True)
        DEMO.mkdir(parents=True)
        check()
        closure = (HELLO / "ROOT").read_text().strip()
        files, size = measure_closure()
        store = f"pack:{DEMO / 'store'}"
        say(f"Importing the closure of {Path(closure).name}: {files:,} files, {size / 1e6:.1f} MB")
        tvix("store", "import-closure", "--store", store, "--nix-store", str(HELLO / "store"), str(HELLO / "INFO.json"))
        key = tvix("key", "generate", "demo-1", "--directory", str(DEMO)).strip()
        root = tvix("store", "sign-closure", "--store", store, "--key", str(DEMO / "demo-1.secret"), closure).split()[0]
        say(f"Its closure root, signed with a new key: {root}")
        say(f"A site with certificates for the server, {issue('server/demo', HOST_SEEN_BY_GUEST)}, and {issue('reader/machine')}")
        tvix("image", "credentials", str(INITRD), str(DEMO / "reader-machine"), "-o", str(OWN_INITRD))
        with serving(store) as address:
            say(f"Serving it at {address}")
            machine = Machine(address, closure, key)
            machine.run()
        summarize(machine, files, size)
    except Failed as failure:
        print(f"\ndemo failed: {failure}", file=sys.stderr)
        return 1
    return 0


def check() -> None:
    """Everything that `make demo` has made is there."""
    if shutil.which(QEMU) is None:
        raise Failed(f"{QEMU} is not installed (`make demo` installs it)")
    for path in (TVIX, KERNEL, INITRD, HELLO / "INFO.json"):
        if not path.exists():
            raise Failed(f"{path.relative_to(CHECKOUT)} is not there (`make demo` makes it)")


def say(text: str) -> None:
    """One line of ours."""
    print(f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else f"== {text}", flush=True)


def tvix(*words: str) -> str:
    """What a command prints. Its errors go to the terminal as they are."""
    done = subprocess.run([TVIX, *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Failed(f"tvix {' '.join(words[:2])} ended with {done.returncode}")
    return done.stdout


def issue(identity: str, *addresses: str) -> str:
    """Make a certificate of the demo's site, and the site before the first."""
    authority = DEMO / "ca"
    if not authority.exists():
        tvix("tls", "init", "demo", "--directory", str(authority))
    words = [word for address in addresses for word in ("--address", address)]
    output = DEMO / identity.replace("/", "-")
    answer = tvix("tls", "issue", identity, *words, "--days", "1", "--directory", str(authority), "-o", str(output), "--json")
    return str(json.loads(answer)["identity"])


def measure_closure() -> tuple[int, int]:
    """How many files the closure has, and how many bytes are in them."""
    paths = [HELLO / "store" / Path(item["path"]).name for item in json.loads((HELLO / "INFO.json").read_text())]
    files = [file for path in paths for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    return len(files), sum(file.stat().st_size for file in files)


@contextlib.contextmanager
def serving(store: str) -> Iterator[str]:
    """A store server, for as long as this lasts; gives its address."""
    options = ["--listen", "tvix+tls://127.0.0.1:0", "--credentials", str(DEMO / "server-demo"), "--json", "--progress", "quiet"]
    command = [str(TVIX), "store", "serve", "--store", store, *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        if not line:
            raise Failed(f"the store server ended with {server.wait()}")
        yield json.loads(line)["addresses"][0]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


class Machine:
    """A virtual machine that boots once. Its console says what it does, one JSON object a line (docs: `tvix boot --help`)."""

    def __init__(self, address: str, closure: str, key: str) -> None:
        port = address.rpartition(":")[2]
        self.command_line = " ".join(
            [
                "console=ttyS0 quiet panic=-1",
                f"tvix.store=tvix+tls://{HOST_SEEN_BY_GUEST}:{port}",
                f"tvix.closure={closure}",
                f"tvix.trusted-key={key}",
                f"tvix.run={closure}/bin/tour",
                "tvix.on-failure=poweroff",
            ]
        )
        self.first_output: float | None = None
        self.statistics: dict[str, int] = {}
        self.end: dict[str, object] = {}
        self.seconds = 0.0

    def run(self) -> None:
        """Boot it and tell what happens, until it is off."""
        say("Booting a machine: " + self.command_line)
        started = time.monotonic()
        with subprocess.Popen(self._qemu(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as qemu:
            watchdog = threading.Timer(TIMEOUT, qemu.kill)
            watchdog.start()
            assert qemu.stdout is not None
            with (DEMO / "console.log").open("wb") as log:
                for line in qemu.stdout:
                    log.write(line)
                    self._heard(line.decode(errors="replace").strip(), time.monotonic() - started)
            watchdog.cancel()
            status = qemu.wait()
        self.seconds = time.monotonic() - started
        if self.seconds >= TIMEOUT:
            raise Failed(f"the machine wasn't off after {TIMEOUT} s; its console is in {DEMO / 'console.log'}")
        if status or self.end.get("outcome") != "ok":
            raise Failed(f"the machine ended with {self.end or status}; its console is in {DEMO / 'console.log'}")

    def _qemu(self) -> list[str]:
        machine = ["-accel", "tcg", "-cpu", "max", "-machine", "q35", "-smp", "2", "-m", "384", "-no-reboot"]
        devices = ["-nodefaults", "-display", "none", "-serial", "stdio"]
        network = ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]
        boot = ["-kernel", str(KERNEL), "-initrd", str(OWN_INITRD), "-append", self.command_line]
        return [QEMU, *machine, *devices, *network, *boot]

    def _heard(self, line: str, seconds: float) -> None:
        """A line of the console: a step of the boot, or output of the program."""
        if not line.startswith("tvix {"):
            if line and "reboot: Power down" not in line:
                self.first_output = self.first_output or seconds
                print(f"{seconds:6.1f} s | {line}", flush=True)
            return
        step = json.loads(line.removeprefix("tvix "))
        if step.get("state") == "fail":
            print(f"{seconds:6.1f} s   {step['step']} failed: {step.get('error')}", flush=True)
        elif step["step"] in STEPS and step["state"] == "ok":
            print(f"{seconds:6.1f} s   {STEPS[step['step']]}", flush=True)
        elif step["step"] == "stats":
            self.statistics = step["mount"]
        elif step["step"] == "end":
            self.end = step


def summarize(machine: Machine, files: int, size: int) -> None:
    """What it took."""
    fetched = machine.statistics["bytesFetched"]
    round_trips, requests = machine.statistics["roundTrips"], machine.statistics["requestsTotal"]
    lines = (
        f"first line of the program after {machine.first_output:.1f} s, off after {machine.seconds:.1f} s (emulated processor)",
        f"booted from a kernel and an initrd of {OWN_INITRD.stat().st_size / 1e6:.1f} MB: no disk, nothing copied beforehand",
        f"the closure has {files:,} files, {size / 1e6:.1f} MB; fetched were {fetched / 1e6:.1f} MB ({fetched / size:.0%})",
        f"that took {round_trips:,} round trips, and answered {requests:,} requests of the kernel",
        f"what the machine said is in {(DEMO / 'console.log').relative_to(CHECKOUT)}",
    )
    say("It worked")
    for line in lines:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
