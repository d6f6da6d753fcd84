"""The size of initrd-minimal, and the smallest memory that a machine boots it in."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.harness import Figure
from tests.bench.machine import INITRD, Served, boot_closure

GOAL_SIZE = 14.0
GOAL_MEMORY = 160
MEMORIES = (112, 128, 144, 160, 192)
"""MiB, tried from the smallest up."""


def figures() -> Iterator[Figure]:
    """Two figures, without a peer."""
    yield Figure("initrd-minimal, zstd", "–", INITRD.stat().st_size / 1e6, GOAL_SIZE, "MB")
    with Served() as served:
        fits = [memory for memory in MEMORIES if boot_closure(served, memory=memory).worked][:1]
    yield Figure("smallest memory it boots in", "–", fits[0] if fits else float("inf"), GOAL_MEMORY, "MiB")
