"""Boots of initrd-tiny, which has no gRPC: over our framed protocol, in the clear and over TLS."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import harness
import pytest
from conftest import PROGRAM
from harness import HOST, STATIC, with_credentials

from tvix.testing.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Closure
    from harness import Machine, Namespace

    Boot = Callable[..., Machine]

pytestmark = [pytest.mark.vm, pytest.mark.root]

OFF = "tvix.on-failure=poweroff"
TCP, TLS = 8100, 8101


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module", autouse=True)
def framed_server(namespace: Namespace, store: str, closure: Closure, site: Site) -> Iterator[None]:
    """A server of both kinds; what is served is there already."""
    del closure
    listens = ("--listen", f"tvix+tcp://0.0.0.0:{TCP}", "--insecure", "--listen", f"tvix+tls://0.0.0.0:{TLS}")
    credentials = site.issue("server", addresses=(HOST, "10.0.2.2"))
    words = (PROGRAM, "store", "serve", "--store", store, *listens, "--credentials", credentials)
    process = namespace.start(*words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"READY")
    yield
    harness.stop(process, hard=True)


@pytest.fixture
def boot_image(namespace: Namespace) -> Iterator[Boot]:
    """Boots an image in user-mode Linux."""
    machines: list[Machine] = []

    def start(initrd: Path, *words: str) -> Machine:
        machines.append(harness.boot_uml(namespace, initrd, (STATIC, OFF, *words)))
        return machines[-1]

    yield start
    for machine in machines:
        machine.kill()


def ran(machine: Machine) -> dict[str, object]:
    """The mount's counters of a boot that ran its program."""
    end = machine.finish()
    assert (end["outcome"], end["exit"]) == ("ok", 0), machine.output.decode(errors="replace")[-3000:]
    assert b"out of the store" in machine.output
    counters: dict[str, object] = machine.step("stats")["mount"]
    return counters


def view(closure: Closure) -> tuple[str, str]:
    """What to mount, and what to run."""
    return f"tvix.root={closure.root}", closure.run("echo", "out", "of", "the", "store")


def test_over_tcp(boot_image: Boot, tiny_uml_initrd: Path, closure: Closure) -> None:
    counters = ran(boot_image(tiny_uml_initrd, f"tvix.store=tvix+tcp://{HOST}:{TCP}", *view(closure)))
    assert counters["connections"] == 1
    assert counters["lastError"] == ""


def test_over_tls(boot_image: Boot, tiny_uml_initrd: Path, closure: Closure, site: Site, tmp_path: Path) -> None:
    mine = with_credentials(tiny_uml_initrd, site.issue("reader", "kitchen"), tmp_path / "mine.img")
    ran(boot_image(mine, f"tvix.store=tvix+tls://{HOST}:{TLS}", *view(closure)))


@pytest.mark.parametrize(("kind", "word"), [("expired", "expired"), ("foreign", "CA")])
def test_over_tls_with_the_wrong_credentials(
    boot_image: Boot, tiny_uml_initrd: Path, closure: Closure, site: Site, tmp_path: Path, kind: str, word: str
) -> None:
    wrong = site.expired("reader") if kind == "expired" else Site(tmp_path / "foreign").issue("reader")
    mine = with_credentials(tiny_uml_initrd, wrong, tmp_path / "mine.img")
    machine = boot_image(mine, f"tvix.store=tvix+tls://{HOST}:{TLS}", *view(closure))
    assert machine.finish()["outcome"] == "failed"
    assert word in machine.step("mount", "fail")["error"]


def test_grpc_is_refused_before_anything_is_waited_for(boot_image: Boot, tiny_uml_initrd: Path, closure: Closure) -> None:
    machine = boot_image(tiny_uml_initrd, f"tvix.store=grpc+http://{HOST}:{harness.PORT}", *view(closure))
    assert machine.finish()["outcome"] == "failed"
    failure = machine.step("command-line", "fail")
    assert failure["id"] == "boot.store-not-spoken"
    assert "initrd-tiny has no gRPC in it; it speaks tvix+tcp and tvix+tls" in failure["error"]
    assert not any(line["step"] == "network" for line in machine.lines)


@pytest.mark.parametrize(("processor", "memory", "scheme"), [("max", 256, "tls"), ("qemu64", 128, "tcp")])
def test_whole_boot_in_qemu(
    namespace: Namespace,
    kernel: Path,
    tiny_initrd: Path,
    closure: Closure,
    site: Site,
    tmp_path: Path,
    processor: str,
    memory: int,
    scheme: str,
) -> None:
    mine = with_credentials(tiny_initrd, site.issue("reader", "attic"), tmp_path / "mine.img")
    words = (f"tvix.store=tvix+{scheme}://10.0.2.2:{TLS if scheme == 'tls' else TCP}", *view(closure), OFF)
    machine = harness.boot_qemu(namespace, kernel, mine, words, memory=memory, processor=processor)
    try:
        ran(machine)
    finally:
        machine.kill()
