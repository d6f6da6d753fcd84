"""The evaluator against C++ Nix 2.26: user and system CPU of whole processes, and their peak memory.

The programs are those of tests/bench/nix. Both run in turn, five times after one that doesn't count; what entering the other Debian
costs is taken off. The evaluator has to be the compiled one.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.harness import Figure
from tests.bench.nix_files import make_files
from tests.bench.program import ROOT, TVIX
from tvix.eval.uncompiled import is_compiled
from tvix.testing.stock_nix import StockNix, build_nix_226

PROGRAMS = (
    ("fib", "fib 30", 0.4),
    ("lists", "map and foldl' over 2 million", 1.5),
    ("sets", "attribute sets, // and strings", 0.8),
    ("fix", "fix and extends", 0.8),
    ("modules", "150-fold evalModules of a small module library", 1.25),
)
FILES_BYTES = 12_000_000
FROZEN = ROOT / "dist/initrd-builder/tvix"
_ROUNDS = 5
_PEER = "nix-instantiate 2.26"


class Cost(NamedTuple):
    """What a process took: CPU and wall seconds, and KiB."""

    seconds: float
    wall: float
    memory: float


def cost_of(
    command: Sequence[str | bytes | Path], environment: Mapping[str, str], before: Callable[[], None] | None = None
) -> Cost:
    """Run a command that must succeed; its output is thrown away."""
    if before is not None:
        before()
    words = [os.fsdecode(word) for word in command]
    start = time.perf_counter()
    nothing = ((os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),)
    process = os.posix_spawnp(words[0], words, dict(environment), file_actions=nothing)
    _, status, usage = os.wait4(process, 0)
    assert status == 0, f"{words}: {os.waitstatus_to_exitcode(status)}"
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, float(usage.ru_maxrss))


def median(costs: Sequence[Cost]) -> Cost:
    """Of each column."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def figures() -> Iterator[Figure]:
    """The programs, importing, starting; the most memory that any of them took."""
    assert is_compiled(), "the evaluator isn't compiled, or not from these sources: make dev"
    tree = build_nix_226(ROOT / ".cache/nix-2.26")
    with tempfile.TemporaryDirectory(prefix="tvix-bench-") as scratch:
        place = Path(scratch)
        nix = StockNix(place, "/usr/sbin:/usr/bin:/sbin:/bin", chroot=tree)
        cache = place / "cache"
        ours = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        homeless = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
        entering = median([cost_of(*nix.command("true")) for _ in range(_ROUNDS + 1)]).seconds
        memories: list[float] = []

        def compare(
            program: Path, environment: Mapping[str, str] = ours, before: Callable[[], None] | None = None
        ) -> tuple[float, str]:
            command = [TVIX, "eval", program]
            mine: list[Cost] = []
            theirs: list[Cost] = []
            for _ in range(_ROUNDS + 1):
                mine.append(cost_of(command, environment, before))
                theirs.append(cost_of(*nix.command("nix-instantiate", "--eval", "--store", "dummy://", program)))
            one, other = median(mine[1:]), median(theirs[1:])
            memories.append(one.memory / other.memory)
            cpu = other.seconds - entering
            return one.seconds / cpu, f"({one.seconds:.3f} s against {cpu:.3f} s)"

        for name, what, goal in PROGRAMS:
            program = Path(shutil.copy(ROOT / f"tests/bench/nix/{name}.nix", place))
            ratio, note = compare(program)
            yield Figure(what, _PEER, ratio, goal, note=note)
        everything = make_files(place / "files", FILES_BYTES)
        ratio, note = compare(everything, homeless)
        yield Figure("importing 12 MB of files, no cache", _PEER, ratio, 1.1, note=note)
        written, _ = compare(everything, before=lambda: shutil.rmtree(cache, ignore_errors=True))
        ratio, note = compare(everything)
        note += f"; the run that writes it: {written:.3g} ×"
        yield Figure("importing 12 MB of files, from the cache", _PEER, ratio, 0.4, note=note)
        yield Figure("peak memory, the worst of these", _PEER, max(memories), 1.5)
        for what, program, goal in (("compiled", TVIX, 60), ("frozen", FROZEN, 150)):
            starts = [cost_of([program, "eval", "-E", "1"], ours) for _ in range(2 * _ROUNDS + 1)][1:]
            yield Figure(f"start of tvix eval -E 1, {what}", "the clock", median(starts).wall * 1000, goal, "ms")
