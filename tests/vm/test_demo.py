"""`make demo` does what it says, and says so when it can't."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples/hello/demo.py"


def test_the_closure_is_one_of_real_programs(hello_closure: Path) -> None:
    info = json.loads((hello_closure / "INFO.json").read_text())
    paths = [hello_closure / "store" / Path(item["path"]).name for item in info]
    files = [file for path in paths for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    assert len(files) >= 300
    assert sum(file.stat().st_size for file in files) >= 30_000_000
    assert {re.sub(r"^.{33}", "", path.name) for path in paths} >= {"libc6", "bash", "coreutils", "hello", "python3", "tour"}
    known = {item["path"] for item in info}
    assert all(reference in known for item in info for reference in item["references"])


@pytest.mark.vm
@pytest.mark.usefixtures("hello_closure", "tiny_initrd", "kernel")
def test_demo_runs_a_program_out_of_the_store() -> None:
    done = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tvix.store=tvix+tls://" in done.stdout
    assert "tvix.trusted-key=demo-1:" in done.stdout
    assert "| Hello from a closure that nobody copied here." in done.stdout
    assert re.search(r"\| This is Python 3\.11\.\d+ from /nix/store/", done.stdout)
    assert re.search(r"first line of the program after \d+\.\d s", done.stdout)
    fetched = re.search(r"fetched were (\d+\.\d) MB", done.stdout)
    assert fetched
    assert 0 < float(fetched[1]) < 32, "half of the closure is more than these programs need"


def test_demo_says_what_is_missing(tmp_path: Path) -> None:
    """Without QEMU, one line and exit status 1, no traceback."""
    done = subprocess.run(
        [sys.executable, DEMO], capture_output=True, text=True, timeout=240, env={**os.environ, "PATH": str(tmp_path)}
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("demo failed: ")
    assert "Traceback" not in done.stderr
