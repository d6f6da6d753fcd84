"""Whole boots in QEMU's emulator: Debian's kernel, virtio by modalias, DHCP, a program out of the store, power-off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import harness
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Closure
    from harness import Namespace

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.usefixtures("server")]


@pytest.mark.parametrize(("processor", "memory"), [("max", 256), ("qemu64", 160)])
def test_whole_boot(namespace: Namespace, kernel: Path, initrd: Path, closure: Closure, processor: str, memory: int) -> None:
    """On a processor without RDRAND too, and in the least memory that is promised."""
    words = (f"tvix.store=grpc+http://10.0.2.2:{harness.PORT}", f"tvix.root={closure.root}", closure.run("echo", "hello"))
    machine = harness.boot_qemu(namespace, kernel, initrd, [*words, "tvix.on-failure=poweroff"], memory=memory, processor=processor)
    try:
        end = machine.finish()
    finally:
        machine.kill()
    assert (end["outcome"], end["exit"]) == ("ok", 0)
    assert "virtio_net" in machine.step("modules")["loaded"]
    assert machine.step("network")["links"][0]["address"] == "10.0.2.15/24"
    assert machine.step("stats")["mount"]["bytesFetched"] > 1 << 20


def test_reboot_after_a_failure(namespace: Namespace, kernel: Path, initrd: Path) -> None:
    """QEMU, told not to start again, ends instead."""
    machine = harness.boot_qemu(namespace, kernel, initrd, ["tvix.nonsense", "tvix.on-failure=reboot"])
    try:
        assert machine.finish()["outcome"] == "failed"
    finally:
        machine.kill()
    assert b"Restarting system" in machine.output
