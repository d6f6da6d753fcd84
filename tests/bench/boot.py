"""Boot to a program's first line, against an initrd that holds nothing but busybox, on the same kernel in the same emulator.

Ours brings the network up, mounts the store from a server and runs GNU hello out of the closure; busybox prints a line at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from initrd import cpio, image
from tests.bench.harness import Figure, in_turn
from tests.bench.machine import Boot, Served, boot, boot_closure

GOAL = 2.2
ROUNDS = 5


def figures() -> Iterator[Figure]:
    """One figure: seconds of wall time from QEMU's start to the first line, ours over busybox's."""
    with tempfile.TemporaryDirectory(prefix="tvix-bench-") as scratch, Served() as served:
        plain = _busybox_initrd(Path(scratch))
        pairs = in_turn(
            lambda: _seconds(boot_closure(served)),
            lambda: _seconds(boot(plain, "", "Hello")),
            ROUNDS,
        )
    yield Figure("boot to the program's first line, QEMU emulated", "busybox initrd", pairs.ratio, GOAL, note=pairs.note())


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
