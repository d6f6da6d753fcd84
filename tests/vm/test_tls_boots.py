"""Boots of initrd-minimal over gRPC with TLS: with a certificate that holds, and with those that end at the prompt with a reason.

The same over the framed protocol is in test_tiny_boots.py.
"""

from __future__ import annotations

import subprocess
from datetime import timedelta
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

PORT = 8200
URL = f"grpc+https://{HOST}:{PORT}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module", autouse=True)
def server(namespace: Namespace, store: str, closure: Closure, site: Site) -> Iterator[None]:
    """Depends on the closure, since what is served should be there."""
    del closure
    credentials = site.issue("server", addresses=(HOST,))
    words = (PROGRAM, "store", "serve", "--store", store, "--listen", f"grpc+https://0.0.0.0:{PORT}", "--credentials", credentials)
    process = namespace.start(*words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"READY")
    yield
    harness.stop(process, hard=True)


@pytest.fixture
def boot_with(namespace: Namespace, uml_initrd: Path, closure: Closure, tmp_path: Path) -> Iterator[Boot]:
    """Boots with these credentials in the image; `built` is the earliest time that the machine's clock has."""
    machines: list[Machine] = []

    def start(credentials: Path, *words: str, built: int = 0) -> Machine:
        image = with_credentials(uml_initrd, credentials, tmp_path / "image", built)
        program = closure.run("echo", "out", "of", "the", "store")
        machines.append(harness.boot_uml(namespace, image, (STATIC, f"tvix.root={closure.root}", program, *words)))
        return machines[-1]

    yield start
    for machine in machines:
        machine.kill()


def test_a_certificate_that_holds(boot_with: Boot, site: Site) -> None:
    machine = boot_with(site.issue("reader"), f"tvix.store={URL}", "tvix.on-failure=poweroff")
    end = machine.finish()
    assert (end["outcome"], end["exit"]) == ("ok", 0), machine.output.decode(errors="replace")[-2000:]
    assert b"out of the store" in machine.output


def at_the_prompt(machine: Machine) -> dict[str, object]:
    """How the mount failed, of a machine that waits at its prompt then."""
    machine.wait_for_step("rescue", "start")
    machine.type("off\n")
    assert machine.finish()["outcome"] == "failed"
    return machine.step("mount", "fail")


def test_an_expired_one_ends_at_the_prompt(boot_with: Boot, site: Site) -> None:
    failure = at_the_prompt(boot_with(site.expired("reader"), f"tvix.store={URL}"))
    assert failure["id"] == "tls.own-certificate-expired"
    assert "/etc/tvix/credentials/cert.pem: the certificate of tvix://home/reader/old expired at 20" in str(failure["error"])
    assert "tvix tls issue" in str(failure["hint"])


def test_one_of_another_ca(boot_with: Boot, tmp_path: Path) -> None:
    failure = at_the_prompt(boot_with(Site(tmp_path / "other").issue("reader"), f"tvix.store={URL}"))
    assert failure["id"] == "tls.wrong-ca"


def test_a_clock_that_is_behind(boot_with: Boot, site: Site) -> None:
    """What a machine without a battery sees whose image is older than its certificate: the clock is what is named."""
    late = site.issue("reader", "late", begins=timedelta(days=300))
    failure = at_the_prompt(boot_with(late, f"tvix.store={URL}", built=1))
    assert failure["id"] == "tls.own-certificate-not-yet-valid"
    assert "this machine's clock says 20" in str(failure["error"])
    assert failure["hint"] == "set the clock of this machine"


def test_none(namespace: Namespace, uml_initrd: Path, closure: Closure) -> None:
    words = (STATIC, f"tvix.store={URL}?deadline=3", f"tvix.root={closure.root}", closure.run("true"))
    machine = harness.boot_uml(namespace, uml_initrd, words)
    try:
        assert at_the_prompt(machine)["id"] == "tls.credentials-missing"
    finally:
        machine.kill()
