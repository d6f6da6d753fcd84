"""A network between two namespaces, with the delay, rate and loss of a real one: `with Network(0.005, 100e6) as network`.

A client's processes run in `network.client`, servers in `network.server`; `SERVER` is the address of the server's side. The
line can be cut and joined. What does the work is simulator.c, compiled at the first use.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Self

CLIENT, SERVER = "10.99.1.2", "10.99.2.2"
SOURCE = Path(__file__).with_name("simulator.c")
_LOOPBACK_RATE = 1e11


@cache
def _compiled() -> Path:
    program = Path(mkdtemp(prefix="tvix-network-")) / "simulator"
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-o", program, SOURCE], check=True)
    return program


class Network:
    """`round_trip` in seconds, `rate` in bits per second each way, `loss` as a fraction of packets, replayable by `seed`."""

    _count = 0

    def __init__(self, round_trip: float = 0.0, rate: float = 1e9, loss: float = 0.0, seed: int = 1) -> None:
        self._shape = [str(round(round_trip / 2 * 1e6)), str(rate), str(round(loss * 1e6)), str(seed)]
        Network._count += 1
        self.client = f"tvixc-{os.getpid()}-{Network._count}"
        self.server = f"tvixs-{os.getpid()}-{Network._count}"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        for name in (self.client, self.server):
            subprocess.run(["ip", "netns", "add", name], check=True)
        try:
            self._process = subprocess.Popen(
                [_compiled(), self.client, self.server, *self._shape], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self._answer() == "up"
            for name, own, peer in ((self.client, CLIENT, SERVER), (self.server, SERVER, CLIENT)):
                self._configure(name, own, peer)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None and self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
        for name in (self.client, self.server):
            subprocess.run(["ip", "netns", "delete", name], check=True)

    def inside(self, name: str, *command: str | Path) -> list[str | Path]:
        """The words that run a command in the namespace `name`, with the mounts of this one."""
        return ["nsenter", f"--net=/run/netns/{name}", *command]

    def cut(self) -> None:
        """Drop every packet from now on."""
        self._command("c")

    def join(self) -> None:
        """Carry packets again."""
        self._command("j")

    def carried(self) -> tuple[int, int]:
        """Bytes carried so far with their IP headers: from the client to the server, and back."""
        self._command("?")
        there, back = self._answer().split()
        return int(there), int(back)

    def _configure(self, name: str, own: str, peer: str) -> None:
        for command in (
            "link set lo up",
            f"address add {own}/32 dev wan",
            "link set wan mtu 1500 txqueuelen 5000 up",
            f"route add {peer} dev wan",
        ):
            subprocess.run(["ip", "-netns", name, *command.split()], check=True)

    def _command(self, command: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(command)
        self._process.stdin.flush()

    def _answer(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


if __name__ == "__main__":
    with Network(float(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])) as shown:
        print(shown.client, shown.server, CLIENT, SERVER)
        input()
