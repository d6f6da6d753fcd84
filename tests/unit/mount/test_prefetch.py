"""What is asked for before anybody reads it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tvix.castore.digests import Digest, digest_of
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name
from tvix.castore.transfer.messages import CLOSURE, SIBLINGS
from tvix.mount import prefetch
from tvix.mount.node_table import ROOT
from tvix.mount.prefetch import Policy
from tvix.mount.tree import Tree

KIB = 1 << 10
MIB = 1 << 20


class Far:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Digest, int, int, int]] = []

    def prefetch(self, blobs: Iterable[tuple[Digest, int]], priority: int) -> None:
        self.asked += [(digest, 0, size, priority) for digest, size in blobs]

    def prefetch_range(self, digest: Digest, size: int, offset: int, length: int, priority: int) -> None:
        assert offset + length <= size
        self.asked.append((digest, offset, length, priority))


def file(name: str, size: int) -> FileNode:
    return FileNode(digest_of(name.encode()), size, False)


class Bench:
    """A tree of two directories, and a policy that watches it."""

    def __init__(self, mode: str, sizes: dict[str, int], below: dict[str, int] | None = None) -> None:
        self.below = Directory.of((Name(name.encode()), file(name, size)) for name, size in (below or {}).items())
        entries = {Name(name.encode()): file(name, size) for name, size in sizes.items()}
        self.root = Directory.of([*entries.items(), (Name(b"zz"), DirectoryNode(self.below.digest, self.below.size))])
        self.far = Far()
        self.directories = {self.root.digest: self.root, self.below.digest: self.below}
        self.policy = Policy(mode, self.far, self.directories.get)
        self.tree = Tree(self.root.digest)
        self.tree.adopt(ROOT, self.root)
        self.policy.watch(self.tree)

    def miss(self, name: str, offset: int, length: int, *, expected: bool = False) -> list[tuple[Digest, int, int, int]]:
        """What a read of a file that isn't near leads to."""
        before = len(self.far.asked)
        node = self.root.entries[Name(name.encode())]
        assert type(node) is FileNode
        self.policy.missed(self.tree.names[ROOT][name.encode()], node.digest, node.size, offset, length, expected=expected)
        return self.far.asked[before:]

    def run(self) -> None:
        while self.policy.step():
            pass


def test_all_of_a_closure_without_a_record_comes_behind_demand_each_file_once() -> None:
    bench = Bench(prefetch.AUTO, {"a": 5, "b": MIB, "empty": 0}, {"a": 5, "c": 7})
    bench.policy.opened(bench.root.digest, False)
    bench.run()
    assert sorted(bench.far.asked) == sorted(
        (digest_of(name.encode()), 0, size, CLOSURE) for name, size in (("a", 5), ("b", MIB), ("c", 7))
    )


def test_a_closure_that_is_recorded_or_too_large_does_not_come_as_a_whole() -> None:
    recorded = Bench(prefetch.AUTO, {"a": 5})
    recorded.policy.opened(recorded.root.digest, True)
    large = Bench(prefetch.AUTO, {"a": prefetch.CLOSURE_BYTES_MAX, "b": 1})
    large.policy.opened(large.root.digest, False)
    for bench in (recorded, large):
        bench.run()
        assert bench.far.asked == []


def test_small_siblings_come_once_up_to_a_bound() -> None:
    sizes = {f"s{number:02}": 64 * KIB for number in range(40)}
    bench = Bench(prefetch.DEMAND, {"read": 10, **sizes, "too-large": 64 * KIB + 1, "nothing": 0})
    asked = bench.miss("read", 0, 10)
    assert len(asked) == 16
    assert all(priority == SIBLINGS and (offset, length) == (0, 64 * KIB) for _, offset, length, priority in asked)
    assert digest_of(b"too-large") not in {digest for digest, *_ in asked}
    assert bench.miss("s39", 0, 64 * KIB) == []


def test_all_of_a_file_comes_once_a_part_of_it_is_waited_for() -> None:
    bench = Bench(prefetch.DEMAND, {"library": 8 * MIB})
    assert bench.miss("library", MIB, 32 * KIB) == [(digest_of(b"library"), 0, 8 * MIB, SIBLINGS)]
    assert bench.miss("library", 3 * MIB, 32 * KIB) == []


def test_a_large_file_is_read_ahead_of_who_reads_it() -> None:
    end = 40 * MIB
    bench = Bench(prefetch.DEMAND, {"file": end})
    (ahead,) = bench.miss("file", 0, 128 * KIB)
    assert ahead == (digest_of(b"file"), 128 * KIB, MIB, SIBLINGS)
    assert bench.miss("file", 128 * KIB, 128 * KIB) == [], "there is enough ahead"
    (ahead,) = bench.miss("file", end - 200 * KIB, 128 * KIB)
    assert ahead[1:3] == (end - 72 * KIB, 72 * KIB), "not beyond the end"
    assert bench.miss("file", end - 10, 10) == []


def test_what_a_record_brings_anyhow_is_no_reason_to_guess() -> None:
    bench = Bench(prefetch.AUTO, {"file": 4 * MIB, "sibling": 5})
    bench.policy.opened(bench.root.digest, True)
    assert bench.miss("file", 0, 128 * KIB, expected=True) == []
    assert len(bench.miss("file", 0, 128 * KIB)) == 2, "what the record doesn't have has its neighbours come"
    guessing = Bench(prefetch.DEMAND, {"file": 4 * MIB})
    assert guessing.miss("file", 0, 128 * KIB, expected=True), "who catches up with what was guessed needs more of it"


@pytest.mark.parametrize(("mode", "pushes"), [("auto", True), ("hot", True), ("demand", False), ("none", False)])
def test_modes(mode: str, pushes: bool) -> None:
    bench = Bench(mode, {"a": 5, "b": 5})
    assert bench.policy.pushes is pushes
    bench.policy.opened(bench.root.digest, False)
    asked = bench.miss("a", 0, 5)
    bench.run()
    neighbours = [(digest_of(b"b"), 0, 5, SIBLINGS)]
    assert asked == ([] if mode in ("none", "auto") else neighbours)
    assert bool(bench.far.asked) is (mode != "none")
