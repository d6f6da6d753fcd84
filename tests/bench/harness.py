"""Runs ours and a peer in turn and keeps the ratio of each pair: the machine's speed drifts, a ratio within a pair doesn't."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One row of the table. `value` and `goal` are in `unit`; `at_most` says on which side of the goal is good."""

    what: str
    peer: str
    value: float
    goal: float
    unit: str = "×"
    at_most: bool = True
    note: str = ""

    @property
    def reached(self) -> bool:
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        verdict = "reached" if self.reached else "SHORT"
        seen, goal = f"{self.value:.3g} {self.unit}", f"{sign} {self.goal:g} {self.unit}"
        return f"{self.what} | {self.peer} | {seen} | {goal} | {verdict} {self.note}".rstrip()


@dataclass
class Pairs:
    """Seconds of ours and the peer, pair by pair."""

    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Median of ours / peer."""
        return statistics.median(ours / peer for ours, peer in zip(self.ours, self.peer, strict=True))

    def note(self) -> str:
        """The medians behind the ratio."""
        return f"({statistics.median(self.ours):.2f} s against {statistics.median(self.peer):.2f} s)"


def in_turn(ours: Callable[[], float], peer: Callable[[], float], rounds: int = 5) -> Pairs:
    """Time both in turn. Each callable does its own preparation and returns the seconds of what counts."""
    ours()
    peer()
    pairs = Pairs()
    for _ in range(rounds):
        pairs.ours.append(ours())
        pairs.peer.append(peer())
    return pairs


def seconds_of(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> float:
    """Wall seconds of a command that must succeed; its output is thrown away."""
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - start
