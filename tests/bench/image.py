"""The size of initrd-minimal, the smallest memory that a machine boots it in, and what PID 1 and the mount process take there."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.harness import Figure
from tests.bench.machine import INITRD, Served, boot_closure

GOAL_SIZE = 14.0
GOAL_MEMORY = 160
MEMORIES = (112, 128, 144, 160, 192)
"""MiB, tried from the smallest up."""
GOAL_PSS = 45


def figures() -> Iterator[Figure]:
    """Three figures, without a peer."""
    yield Figure("initrd-minimal, zstd", "–", INITRD.stat().st_size / 1e6, GOAL_SIZE, "MB")
    with Served() as served:
        fits = [memory for memory in MEMORIES if boot_closure(served, memory=memory).worked][:1]
        yield Figure("smallest memory it boots in", "–", fits[0] if fits else float("inf"), GOAL_MEMORY, "MiB")
        yield Figure("idle PID 1 and mount process together (PSS)", "–", _pss(served), GOAL_PSS, "MB")


def _pss(served: Served) -> float:
    """MB of PID 1 and of the largest other process, which is the mount, while head reads what the kernel says of them."""
    head = "${IFS}".join((served.program("coreutils", "bin/head"), "-n3", "/proc/[0-9]*/smaps_rollup"))
    seen = boot_closure(served, f"{served.program('bash', 'bin/bash')} -c {head}", "Pss:")
    sizes: dict[str, int] = {}
    process = ""
    for line in seen.lines:
        if line.startswith("==> /proc/"):
            process = line.split("/")[2]
        elif line.startswith("Pss:"):
            sizes[process] = int(line.split()[1])
    assert "1" in sizes, "\n".join(seen.lines[-20:])
    return (sizes.pop("1") + max(sizes.values())) * 1024 / 1e6
