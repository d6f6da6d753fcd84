"""Peak memory of importing, serving and reading one 4 GiB file, over what the same process takes for a small one.

The peak is the kernel's own count of resident pages (VmHWM), page cache of files not among them.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.harness import Figure
from tests.bench.program import TVIX
from tests.bench.trees import make_large_file

SIZE = 4 << 30
GOAL_MIB = 96
_MIB = 1 << 20


def figures() -> Iterator[Figure]:
    """One figure for each process that takes part."""
    with tempfile.TemporaryDirectory(prefix="tvix-bench-") as scratch:
        place = Path(scratch)
        small = make_large_file(place / "small", 1000)
        large = make_large_file(place / "large", SIZE)
        store = f"pack:{place}/pack"
        small_path, idle = _import(store, small)
        large_path, peak = _import(store, large)
        large.unlink()
        yield _figure("importing", peak - idle)
        with _server(store, place / "socket") as server, _mount(f"grpc+unix:{place}/socket", place / "mnt") as mount:
            _read(place / "mnt" / small_path)
            idle_server, idle_mount = _high_water(server), _high_water(mount)
            _read(place / "mnt" / large_path)
            yield _figure("serving", _high_water(server) - idle_server)
            yield _figure("reading through a mount of a server", _high_water(mount) - idle_mount)
        with _mount(store, place / "mnt") as mount:
            _read(place / "mnt" / small_path)
            idle_mount = _high_water(mount)
            _read(place / "mnt" / large_path)
            yield _figure("reading through a mount of a local store", _high_water(mount) - idle_mount)


def _figure(what: str, grown: int) -> Figure:
    return Figure(f"memory of {what}, one 4 GiB file", "idle", grown / _MIB, GOAL_MIB, "MiB more")


def _import(store: str, file: Path) -> tuple[str, int]:
    """(name in the store, peak in bytes of the largest of the processes that took part)."""
    command = [TVIX, "store", "import", "--store", store, file]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    printed = process.stdout.read().strip()
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, printed
    return Path(printed).name, usage.ru_maxrss * 1024


@contextmanager
def _server(store: str, socket: Path) -> Iterator[int]:
    command = [TVIX, "store", "serve", "--store", store, "--listen", f"unix:{socket}"]
    with _until_ready(command) as process:
        yield process.pid


@contextmanager
def _mount(store: str, place: Path) -> Iterator[int]:
    place.mkdir(exist_ok=True)
    with _until_ready([TVIX, "mount", "--store", store, place]) as process:
        yield process.pid


@contextmanager
def _until_ready(command: list[str | Path]) -> Iterator[subprocess.Popen[str]]:
    """Both roles print one line once they are ready."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), f"{command} ended before it was ready"
        yield process
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _read(file: Path) -> None:
    """The first read of a file, to its end."""
    subprocess.run(["cat", file], check=True, stdout=subprocess.DEVNULL)


def _high_water(pid: int) -> int:
    """VmHWM in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)
