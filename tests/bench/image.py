"""The size of the initrds, the smallest memory that a machine boots each in, and what PID 1 and the mount process take there."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.harness import Figure
from tests.bench.machine import Served, boot_closure, initrd

GOALS = {"initrd-minimal": (14.0, 160, 45), "initrd-tiny": (7.0, 128, 25)}
"""By profile: MB of the image for kernel 6.1, MiB of the smallest machine, MB of PID 1 and the mount."""
MEMORIES = (96, 112, 128, 144, 160, 192)
"""MiB, tried from the smallest up."""


def figures() -> Iterator[Figure]:
    """Three figures a profile, without a peer."""
    with Served() as served:
        for profile, (size, smallest, pss) in GOALS.items():
            yield Figure(f"{profile}, zstd", "–", initrd(profile, "6.1").stat().st_size / 1e6, size, "MB")
            fits = next((each for each in MEMORIES if boot_closure(served, memory=each, profile=profile).worked), float("inf"))
            yield Figure(f"{profile}: smallest memory it boots in", "–", fits, smallest, "MiB")
            yield Figure(f"{profile}: idle PID 1 and mount process together (PSS)", "–", _pss(served, profile), pss, "MB")


def _pss(served: Served, profile: str) -> float:
    """MB of PID 1 and of the largest other process, which is the mount, while head reads what the kernel says of them."""
    head = "${IFS}".join((served.program("coreutils", "bin/head"), "-n3", "/proc/[0-9]*/smaps_rollup"))
    seen = boot_closure(served, f"{served.program('bash', 'bin/bash')} -c {head}", "Pss:", profile=profile)
    sizes: dict[str, int] = {}
    process = ""
    for line in seen.lines:
        if line.startswith("==> /proc/"):
            process = line.split("/")[2]
        elif line.startswith("Pss:"):
            sizes[process] = int(line.split()[1])
    assert "1" in sizes, "\n".join(seen.lines[-20:])
    return (sizes.pop("1") + max(sizes.values())) * 1024 / 1e6
