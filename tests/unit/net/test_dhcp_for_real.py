"""The DHCP client on a wire between two network namespaces, with dnsmasq at the other end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(30)]

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
WIRE, FAR = "wire0", "wire1"
QUICK_RENEWAL = "--dhcp-option=58,3"  # the least that dnsmasq takes


class Wire:
    """Two namespaces and the programs that run in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server, self.client = (f"tvix-dhcp-{os.getpid()}-{side}" for side in ("s", "c"))
        self._running: list[subprocess.Popen[str]] = []
        for words in (
            f"netns add {self.server}",
            f"netns add {self.client}",
            f"-n {self.client} link add {WIRE} type veth peer name {FAR} netns {self.server}",
            f"-n {self.server} address add 10.88.0.1/24 dev {FAR}",
            f"-n {self.server} link set {FAR} up",
        ):
            subprocess.run(["ip", *words.split()], check=True)

    def dnsmasq(self, first: int, *options: str) -> subprocess.Popen[str]:
        """A server that gives addresses from 10.88.0.FIRST on, and remembers nothing of earlier ones."""
        leases, pid = (self.directory / f"{name}-{first}" for name in ("leases", "pid"))
        addresses = f"--dhcp-range=10.88.0.{first},10.88.0.{first + 9},255.255.255.0,120"
        where = ("--conf-file=/dev/null", "--port=0", f"--interface={FAR}", "--bind-interfaces", addresses)
        names = ("--dhcp-option=15,lab.test", "--dhcp-option=6,10.88.0.53")
        manner = ("--keep-in-foreground", "--no-ping", "--dhcp-authoritative", "--user=root", "--log-facility=-")
        files = (f"--dhcp-leasefile={leases}", f"--pid-file={pid}")
        process = self._start(self.server, "dnsmasq", *where, *names, *manner, *files, *options)
        await_line(process, "sockets bound")
        return process

    def short_leases(self) -> subprocess.Popen[str]:
        """A server whose leases last a second."""
        process = self._start(self.server, sys.executable, HERE / "short_lease_server.py", FAR)
        await_line(process, "ready")
        return process

    def start_client(self, seconds: float = 30) -> subprocess.Popen[str]:
        """Our client, which names the machine: in a UTS namespace of its own."""
        program = (sys.executable, HERE / "dhcp_client.py", self.directory / "resolv.conf", str(seconds))
        return self._start(self.client, "unshare", "--uts", *program)

    def address(self) -> list[str]:
        """What the kernel has on the client's link."""
        command = ["ip", "-n", self.client, "-json", "-4", "address", "show", WIRE]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return [entry["local"] for link in found for entry in link.get("addr_info", ())]

    def stop(self, process: subprocess.Popen[str]) -> None:
        """End a program and wait for it."""
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        self._running.remove(process)

    def close(self) -> None:
        """Stop everything."""
        for process in list(self._running):
            self.stop(process)
        for name in (self.server, self.client):
            subprocess.run(["ip", "netns", "delete", name], check=True)

    def _start(self, namespace: str, *words: str | Path) -> subprocess.Popen[str]:
        command = ["ip", "netns", "exec", namespace, *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment}
        self._running.append(subprocess.Popen(command, **options))
        return self._running[-1]


def await_line(process: subprocess.Popen[str], text: str) -> str:
    """Read lines until one has the text."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError(f"{text!r} never came:\n{''.join(seen)}")


def _up(client: subprocess.Popen[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await_line(client, "up {").partition(" ")[2])
    return found


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    made = Wire(tmp_path)
    yield made
    made.close()


def test_a_lease(wire: Wire) -> None:
    wire.dnsmasq(50, "--dhcp-option=3,10.88.0.1", "--dhcp-option=26,1400")
    found = _up(wire.start_client())
    assert (found["link"], found["prefix"], found["routes"]) == (WIRE, 24, [["0.0.0.0", 0, "10.88.0.1"]])
    assert wire.address() == [found["address"]]
    assert (wire.directory / "resolv.conf").read_text() == "search lab.test\nnameserver 10.88.0.53\n"
    routes = subprocess.run(["ip", "-n", wire.client, "route"], check=True, capture_output=True, text=True).stdout
    assert f"default via 10.88.0.1 dev {WIRE}" in routes
    link = subprocess.run(["ip", "-n", wire.client, "link", "show", WIRE], check=True, capture_output=True, text=True).stdout
    assert "mtu 1400" in link


def test_a_router_outside_the_network(wire: Wire) -> None:
    """As clouds do it: the route to the router comes first."""
    wire.dnsmasq(50, "--dhcp-option=121,0.0.0.0/0,10.99.0.1")
    _up(wire.start_client())
    routes = subprocess.run(["ip", "-n", wire.client, "route"], check=True, capture_output=True, text=True).stdout
    assert f"default via 10.99.0.1 dev {WIRE}" in routes
    assert f"10.99.0.1 dev {WIRE} scope link" in routes


def test_a_server_that_is_silent_at_first(wire: Wire) -> None:
    client = wire.start_client()
    for _ in range(3):
        await_line(client, "no answer yet")
    wire.dnsmasq(50)
    address = _up(client)["address"]
    assert wire.address() == [address]


def test_no_server_at_all(wire: Wire) -> None:
    message = await_line(wire.start_client(0.5), "error ")
    assert message == f"error net.no-lease no DHCP server gave an address within 0.5 s on {WIRE}\n"


def test_renewal(wire: Wire) -> None:
    wire.dnsmasq(50, QUICK_RENEWAL)
    client = wire.start_client()
    address = _up(client)["address"]
    await_line(client, f"{address}/24 for 120 s")  # the first one came before "up"
    assert wire.address() == [address]


def test_refusal_of_a_renewal(wire: Wire) -> None:
    """The server says NAK: the address is given up at once, and another one asked for."""
    server = wire.dnsmasq(50, QUICK_RENEWAL)
    client = wire.start_client()
    address = _up(client)["address"]
    wire.stop(server)
    wire.dnsmasq(70)
    await_line(client, "10.88.0.1 refuses")
    await_line(client, f"{address} is no longer ours")
    await_line(client, "for 120 s")
    (other,) = wire.address()
    assert 70 <= int(other.rpartition(".")[2]) < 80


def test_expiry(wire: Wire) -> None:
    """Nobody answers while it renews and rebinds: the address goes when the lease ends, and the search begins anew."""
    wire.short_leases()
    client = wire.start_client()
    address = _up(client)["address"]
    await_line(client, f"the lease on {address} ran out")
    await_line(client, f"{address} is no longer ours")
    assert f"{address}/" not in await_line(client, "/24 for 1 s")


def test_another_network_manager_takes_over(wire: Wire) -> None:
    """Someone else has given the link another address: the keeper leaves it alone, and ends."""
    wire.dnsmasq(50, QUICK_RENEWAL)
    client = wire.start_client()
    found = _up(client)
    subprocess.run(["ip", "-n", wire.client, "address", "flush", "dev", WIRE], check=True)
    subprocess.run(["ip", "-n", wire.client, "address", "add", "10.88.0.200/24", "dev", WIRE], check=True)
    assert client.wait(20) == 0
    assert wire.address() == ["10.88.0.200"] != [found["address"]]
