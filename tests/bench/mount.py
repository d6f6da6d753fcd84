"""A mount whose store is near, against ext4: walking 50,000 files, reading 512 MB, and memory."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.harness import Figure, in_turn, seconds_of
from tests.bench.program import TVIX
from tests.bench.trees import make_large_file, make_tree

ROUNDS = 5
LARGE_BYTES = 512_000_000


def figures() -> Iterator[Figure]:
    """`find` and `cat` on fresh and on warm mounts; ext4 is read from the page cache."""
    with tempfile.TemporaryDirectory(prefix="tvix-bench-") as scratch:
        place = Path(scratch)
        store = f"pack:{place}/pack"
        tree = make_tree(place / "tree")
        large = make_large_file(place / "large", LARGE_BYTES)
        tree_path, large_path = _import(store, tree), _import(store, large)

        def find(root: Path) -> float:
            return seconds_of(["find", root])

        def fresh(measure: str) -> float:
            with mounted(store, place / "mnt") as mount:
                return find(mount / tree_path) if measure == "find" else seconds_of(["cat", mount / large_path])

        pairs = in_turn(lambda: fresh("find"), lambda: find(tree), ROUNDS)
        yield Figure("find over 50,000 files, fresh mount", "ext4", pairs.ratio, 5, note=pairs.note())
        with mounted(store, place / "mnt") as mount:
            pairs = in_turn(lambda: find(mount / tree_path), lambda: find(tree), ROUNDS)
            yield Figure("find over 50,000 files, warm", "ext4", pairs.ratio, 1.2, note=pairs.note())
            yield _memory(mount)
        pairs = in_turn(lambda: fresh("cat"), lambda: seconds_of(["cat", large]), ROUNDS)
        rate = LARGE_BYTES / 1e6 / sorted(pairs.ours)[len(pairs.ours) // 2]
        note = f"({rate:.0f} MB/s)"
        yield Figure("512 MB, first read", "cat on ext4", 1 / pairs.ratio, 0.08, "× its speed", at_most=False, note=note)
        yield from _again(store, large, large_path, place)


def _again(store: str, large: Path, large_path: str, place: Path) -> Iterator[Figure]:
    """The kernel answers by itself, from pages that the first reading got wherever there were any: how scattered they are decides
    how fast they are copied out, by a factor of 1.5 from one mount to the next. So each pair has a mount of its own."""
    small_pages = _in_small_pages(large, place / "small-pages")
    asked = 0

    def again() -> float:
        nonlocal asked
        with mounted(store, place / "mnt") as mount:
            seconds_of(["cat", mount / large_path])
            before = _reads(mount)
            seconds = statistics.median(seconds_of(["cat", mount / large_path]) for _ in range(3))
            asked += _reads(mount) - before
            return seconds

    for peer, kept in ((large, "large folios"), (small_pages, "4 KiB pages")):
        pairs = in_turn(again, lambda: statistics.median(seconds_of(["cat", peer]) for _ in range(3)), ROUNDS)  # noqa: B023
        what = f"cat on ext4 that keeps it in {kept}"
        note = f"{pairs.note()}; {asked} reads reached the mount"
        yield Figure("512 MB, again", what, 1 / pairs.ratio, 0.9, "× its speed", at_most=False, note=note)


def _reads(mount: Path) -> int:
    requests: dict[str, int] = json.loads(os.getxattr(mount, "user.tvix.stats"))["requests"]
    return requests.get("read", 0)


def _in_small_pages(source: Path, place: Path) -> Path:
    """A copy that the page cache holds in pages of 4 KiB, as it holds what FUSE reads: since Linux 6.16 ext4 keeps large writes in
    larger pieces, which are copied out faster."""
    with source.open("rb") as file, place.open("wb", buffering=0) as copy:
        while piece := file.read(4096):
            copy.write(piece)
    return place


def _import(store: str, path: Path) -> str:
    done = subprocess.run([TVIX, "store", "import", "--store", store, path], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip()).name


@contextmanager
def mounted(store: str, place: Path) -> Iterator[Path]:
    """A mount of the whole store, fresh."""
    place.mkdir(exist_ok=True)
    process = subprocess.Popen([TVIX, "mount", "--store", store, place], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"READY")
    try:
        yield place
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()


def _server(mount: Path) -> int:
    """The process that serves a mount."""
    mine = str(os.getpid())
    children = Path(f"/proc/{mine}/task/{mine}/children").read_text().split()
    return next(int(pid) for pid in children if str(mount).encode() in Path(f"/proc/{pid}/cmdline").read_bytes())


def _memory(mount: Path) -> Figure:
    rollup = Path(f"/proc/{_server(mount)}/smaps_rollup").read_text()
    kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return Figure("PSS of the mount process that knows 55,000 nodes", "", kib / 1024, 60, "MiB")
