"""The mount process of a boot, between its fork and the mount: what goes through its two pipes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
BEGINNING = """
import os, sys
from appliance.boot import early
forked = early.fork_at_once()
from appliance.boot import mounting, process
from tvix.errors import TvixError
reaper = process.Reaper()
"""
LINE = "tvix.store=tvix+tcp://127.0.0.1:9 tvix.root=blake3-{root} tvix.find"
ROOT_DIGEST = "A" * 43 + "="


def boot(script: str, *, close_first: bool = False) -> list[str]:
    closing = "import posix; posix.close(2)\n" if close_first else ""
    command = [sys.executable, "-c", closing + BEGINNING + script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.split("\n")[:-1]


def test_what_is_wrong_comes_back() -> None:
    """Its own identifier, and its exit code: here of an address that PID 1's check of the command line lets through."""
    line = LINE.format(root=ROOT_DIGEST).replace("tvix+tcp://127.0.0.1:9", "nonsense:")
    script = f"""
mount = mounting.MountProcess(forked, reaper, {line!r})
try:
    mount.begin()
except TvixError as error:
    print(error.identifier, error.exit_code, sep="\\n")
print(reaper.wait(mount.pid))
"""
    assert boot(script) == ["castore.invalid-store-url", "64", "0"]


def test_it_ends_with_pid_1_before_it_was_told_anything() -> None:
    script = """
reaper.watch(forked.pid)
os.close(forked.start)
print(reaper.wait(forked.pid), os.read(forked.answer, 1))
"""
    assert boot(script) == ["0 b''"]


def test_it_ends_with_pid_1_that_gives_up_before_the_network_is_there() -> None:
    script = f"""
mount = mounting.MountProcess(forked, reaper, {LINE.format(root=ROOT_DIGEST)!r})
os.close(forked.start)
print(reaper.wait(mount.pid), os.read(forked.answer, 1))
"""
    assert boot(script) == ["0 b''"]


def test_a_server_that_hangs_up_is_no_signal() -> None:
    """SIGPIPE stays ignored, and nothing else that PID 1 has set."""
    script = f"""
mounting.STATUS_FILE = "/nonexistent/mount.json"  # of this process alone
mount = mounting.MountProcess(forked, reaper, {LINE.format(root=ROOT_DIGEST)!r}.replace("tvix+tcp://127.0.0.1:9", "pack:/nowhere"))
def ignored():
    with open(f"/proc/{{mount.pid}}/status") as stream:
        return next(int(line.split()[1], 16) for line in stream if line.startswith("SigIgn:"))
while not os.path.exists(f"/proc/{{mount.pid}}/status") or not ignored() >> 12 & 1 or ignored() >> 24 & 1:
    assert mount.ended() is None  # it waits for its second byte
print("ignored")
os.close(forked.start)
"""
    assert boot(script) == ["ignored"]


def test_without_a_console_nothing_is_forked_at_once() -> None:
    """Descriptors 0 to 2 would be pipes, and no console could be opened there."""
    assert boot("print(forked)", close_first=True) == ["None"]


def test_before_it_forks_pid_1_imports_only_what_both_need() -> None:
    def imported(name: str) -> set[str]:
        before = f"import sys; before = set(sys.modules); sys.path.insert(0, {str(ROOT)!r})"
        script = f"{before}; import {name}; print(*set(sys.modules) - before)"
        done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert imported("appliance.boot.early") == imported("appliance.boot.mounting") | {"appliance.boot.early"}
    assert imported("appliance.boot.early") < imported("appliance.boot.init")
