"""Durable import and NAR hash of 50,000 files, against stock Nix."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.harness import Figure, in_turn, seconds_of
from tests.bench.program import TVIX, nix_environment
from tests.bench.trees import make_tree

ROUNDS = 3


def figures() -> Iterator[Figure]:
    """`tvix store import` against `nix-store --add`, `tvix hash path` against `nix hash path`."""
    with tempfile.TemporaryDirectory(prefix="tvix-bench-") as scratch:
        place = Path(scratch)
        tree = make_tree(place / "tree")
        environment = nix_environment(place / "home")

        def ours() -> float:
            shutil.rmtree(place / "pack", ignore_errors=True)
            return seconds_of([TVIX, "store", "import", "--store", f"pack:{place}/pack", tree])

        def peer() -> float:
            shutil.rmtree(place / "nix", ignore_errors=True)
            return seconds_of(["nix-store", "--store", f"local?root={place}/nix", "--add", tree], environment)

        pairs = in_turn(ours, peer, ROUNDS)
        yield Figure(
            "durable import of 50,000 files", "nix-store --add", 1 / pairs.ratio, 8, "× faster", at_most=False, note=pairs.note()
        )

        pairs = in_turn(
            lambda: seconds_of([TVIX, "hash", "path", tree]),
            lambda: seconds_of(["nix", "hash", "path", tree], environment),
            ROUNDS + 2,
        )
        yield Figure(
            "tvix hash path, 50,000 files", "nix hash path", 1 / pairs.ratio, 0.8, "× its speed", at_most=False, note=pairs.note()
        )
