"""Boots machines in network namespaces and listens to what PID 1 says on their consoles. Only its JSON lines are looked at.

A machine is a process of user-mode Linux (a few seconds a boot) or of QEMU's emulator (five to twenty). Each worker has a
namespace of its own, with a tap for user-mode Linux and a store server in it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from initrd import image, layout
from tvix.castore.credentials import files_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MARK = b"tvix {"
HOST = "10.77.0.1"
NAME = "store.vm.test"
TAP = "tap0"
LINK = "vec0"
STATIC = f"ip=10.77.0.9::{HOST}:255.255.255.0:guest:{LINK}:off:{HOST}"
PORT = 8000
STORE = f"grpc+http://{HOST}:{PORT}"
TIMEOUT = 120

Line = dict[str, Any]
Found = TypeVar("Found")


class Namespace:
    """A network namespace with a loopback and a tap that has an address."""

    def __init__(self, name: str) -> None:
        self.name = name
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "add", name], check=True)
        for words in (
            "link set lo up",
            f"tuntap add dev {TAP} mode tap",
            f"address add {HOST}/24 dev {TAP}",
            f"link set {TAP} up",
        ):
            subprocess.run(self.command("ip", *words.split()), check=True)

    def command(self, *words: str | Path) -> list[str | Path]:
        """A command that runs inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def start(self, *words: str | Path, **options: int) -> subprocess.Popen[bytes]:
        """Start a program inside."""
        return subprocess.Popen(self.command(*words), process_group=0, **options)

    def close(self) -> None:
        """Remove it; what runs in it has been stopped."""
        subprocess.run(["ip", "netns", "delete", self.name], check=True)


class Server:
    """A store server inside a namespace, reachable from its machines."""

    def __init__(self, namespace: Namespace, store: str, port: int = PORT, lie: str = "") -> None:
        """`lie` is a word of lying_server.py, or nothing for an honest server."""
        words: tuple[str | Path, ...] = (Path(sys.executable).with_name("tvix"), "store", "serve", "--store", store)
        words += ("--listen", f"0.0.0.0:{port}", "--insecure")
        if lie:
            words = (sys.executable, Path(__file__).with_name("lying_server.py"), store, str(port), lie)
        self._process = namespace.start(*words, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith(b"READY")

    def close(self) -> None:
        """Stop it at once: machines that were switched off still count as connected."""
        stop(self._process, hard=True)


class Dhcp:
    """A DHCP server on the tap, and the resolver it names, which knows `NAME`."""

    def __init__(self, namespace: Namespace, directory: Path) -> None:
        manner = ("--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--log-facility=-", f"--interface={TAP}")
        names = ("--bind-interfaces", "--no-resolv", "--no-hosts", f"--address=/{NAME}/{HOST}", "--dhcp-option=15,vm.test")
        leases = ("--dhcp-range=10.77.0.50,10.77.0.99,255.255.255.0,120", f"--dhcp-option=3,{HOST}", f"--dhcp-option=6,{HOST}")
        haste = ("--no-ping", "--dhcp-authoritative")
        files = (f"--dhcp-leasefile={directory / 'leases'}", f"--pid-file={directory / 'pid'}")
        self._process = namespace.start("dnsmasq", *manner, *names, *leases, *haste, *files, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        while b"sockets bound" not in self._process.stderr.readline():
            assert self._process.poll() is None
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def close(self) -> None:
        """Stop it and wait for its end."""
        stop(self._process)


class Machine:
    """A machine that boots. `lines` are what PID 1 has said so far, `output` is everything on the console."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._changed = threading.Condition()
        self._ended = False
        self.lines: list[Line] = []
        self.output = b""
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()

    def wait_for(self, wanted: Callable[[Line], bool]) -> Line:
        """The first line that is wanted, now or when it comes."""
        return self._wait(lambda: next((line for line in self.lines if wanted(line)), None))

    def wait_for_step(self, step: str, state: str) -> Line:
        """The first line of a step in a state."""
        return self.wait_for(lambda line: line["step"] == step and line.get("state") == state)

    def wait_for_text(self, text: bytes) -> None:
        """Wait for text on the console, of a program or of the prompt."""
        self._wait(lambda: text in self.output or None)

    def type(self, text: str) -> None:
        """Type at the console."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def stay_for(self, seconds: float) -> None:
        """Let a machine that waits wait. It must not give up meanwhile."""
        with self._changed:
            assert not self._changed.wait_for(lambda: self._ended, seconds), self._story("the machine gave up")

    def finish(self) -> Line:
        """Wait until the machine is off. Returns PID 1's last line."""
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._story("the machine doesn't go off")) from None
        self._reader.join()
        assert self.lines, self._story("PID 1 said nothing")
        return self.lines[-1]

    def step(self, step: str, state: str = "ok") -> Line:
        """The line of a step, once the machine is off."""
        found = [line for line in self.lines if line["step"] == step and line.get("state") == state]
        assert found, self._story(f"no {step} {state}")
        return found[-1]

    def kill(self) -> None:
        """Pull the plug."""
        stop(self._process, hard=True)
        self._reader.join()

    def _wait(self, found: Callable[[], Found | None]) -> Found:
        with self._changed:
            seen = self._changed.wait_for(lambda: self._ended or found() is not None, TIMEOUT)
            answer = found()
        assert answer is not None, self._story("the machine went off without saying it" if seen else "nothing comes")
        return answer

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while piece := os.read(stream.fileno(), 65536):
                with self._changed:
                    self.output += piece
                    self.lines = [_parse(line) for line in self.output.split(b"\n")[:-1] if line.startswith(MARK)]
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _story(self, what: str) -> str:
        return f"{what}; the console said:\n{self.output.decode('utf-8', 'replace')[-4000:]}"


def with_credentials(base: Path, credentials: Path, output: Path, built: int = 0) -> Path:
    """The image with credentials in it, and with the clock of a machine that was built at `built`."""
    image.add_credentials(base, files_in(str(credentials)).read(), output)
    if built:
        image.append(output, {layout.BUILD_DATE: b"%d\n" % built}, output, secret=True)
    return output


def boot_uml(namespace: Namespace, initrd: Path, words: Sequence[str]) -> Machine:
    """Boot user-mode Linux in a namespace, its console on pipes."""
    fixed = ["mem=192M", f"initrd={initrd}", "con=null", "con0=fd:0,fd:1", "ssl=null", "quiet"]
    link = f"{LINK}:transport=tap,ifname={TAP},depth=128,gro=1"
    return Machine(_start(namespace, ["linux.uml", *fixed, link, *words]))


def boot_qemu(
    namespace: Namespace, kernel: Path, initrd: Path, words: Sequence[str], *, memory: int = 256, processor: str = "max"
) -> Machine:
    """Boot QEMU's emulator in a namespace, whose loopback the machine reaches at 10.0.2.2."""
    line = " ".join(["console=ttyS0", "quiet", "panic=-1", *words])
    machine = [
        "-accel",
        "tcg",
        "-cpu",
        processor,
        "-smp",
        "2",
        "-M",
        "q35",
        "-m",
        str(memory),
        "-nographic",
    ]
    devices = [
        "-no-reboot",
        "-nodefaults",
        "-serial",
        "stdio",
        "-netdev",
        "user,id=n0",
        "-device",
        "virtio-net-pci,netdev=n0,romfile=",
    ]
    program = ["qemu-system-x86_64", *machine, *devices, "-kernel", kernel / "vmlinuz", "-initrd", initrd, "-append", line]
    return Machine(_start(namespace, program))


def stop(process: subprocess.Popen[bytes], *, hard: bool = False) -> None:
    """End a program of ours and wait for its end."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL) if hard else process.terminate()
    process.wait(TIMEOUT)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None and not stream.closed:
            stream.close()


def _start(namespace: Namespace, words: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    return namespace.start(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _parse(line: bytes) -> Line:
    found: Line = json.loads(line[5:])
    return found
