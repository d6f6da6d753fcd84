"""Boot to a program's first line, against an initrd that holds nothing but busybox, on the same kernel in the same emulator.

Ours loads drivers, gets an address by DHCP, mounts the store from a server (initrd-minimal over gRPC, initrd-tiny over the framed
protocol, both in the clear) and runs GNU hello, linked to the closure's libc. The
peer is static busybox as /init: it prints a line at once, has no driver to load and no network to bring up. Both machines are
the same, network card included, and both times are wall seconds from QEMU's start to the first line. Against the peer's whole
run, its power-off included, the ratio would be a few hundredths smaller; that is not what is told here.

The goal is meant for Debian 13's kernel, 6.12. Debian 12's 6.1 is told as well, held to the same: it starts half a second
sooner, which makes every ratio larger.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from initrd import cpio, image
from tests.bench.harness import Figure, in_turn
from tests.bench.machine import Boot, Served, boot, boot_closure

GOALS = {"initrd-minimal": 2.2, "initrd-tiny": 1.7}
KERNELS = ("6.12", "6.1")
ROUNDS = 5


def figures() -> Iterator[Figure]:
    """A figure for each kernel and profile: seconds of wall time from QEMU's start to the first line, ours over busybox's."""
    with tempfile.TemporaryDirectory(prefix="tvix-bench-") as scratch, Served() as served:
        plain = _busybox_initrd(Path(scratch))
        for kernel in KERNELS:
            for profile, goal in GOALS.items():
                pairs = in_turn(
                    lambda kernel=kernel, profile=profile: _seconds(  # type: ignore[misc]
                        boot_closure(served, kernel=kernel, profile=profile)
                    ),
                    lambda kernel=kernel: _seconds(boot(plain, "", "Hello", kernel=kernel)),  # type: ignore[misc]
                    ROUNDS,
                )
                what = f"{profile}: boot to the program's first line, QEMU emulated, kernel {kernel}"
                yield Figure(what, "busybox initrd", pairs.ratio, goal, note=pairs.note())


def _seconds(seen: Boot) -> float:
    assert seen.worked, "\n".join(seen.lines[-20:])
    return seen.first_line


def _busybox_initrd(place: Path) -> Path:
    """/init is a shell script of static busybox that prints a line and switches the machine off."""
    script = b"#!/bin/busybox sh\necho Hello\n/bin/busybox poweroff -f\n"
    entries = [
        cpio.directory("bin"),
        cpio.directory("dev"),
        cpio.character_device("dev/console", 0o600, 5, 1),
        cpio.regular("bin/busybox", Path("/usr/bin/busybox"), executable=True),
        cpio.regular("init", script, executable=True),
    ]
    output = place / "busybox.img"
    image.write(entries, output)
    return output
