"""Large files pass through in bounded memory: what a process takes at its peak is what it takes idle, and a little more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ALLOWED_MIB = 96

# Imports one file as a tree and as a NAR, renders its NAR, and exports it; says by how much the peak grew, in MiB.
PASSES = """
import os, sys
from tvix.store.addresses import open_store
from tvix.store.exporting import export_nar, export_path
from tvix.store.importing import import_nar, import_path
from tvix.store.nar_hash import write_nar
from tvix.store.nar_hash_process import NarHashProcess

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 1024

file, folder = sys.argv[1:]
hasher = NarHashProcess()
store = open_store(f"pack:{folder}/pack")
store.blobs.put(b"idle")
store.sync()
idle = peak()
info = import_path(store, file, hasher=hasher)
with open(f"/proc/{hasher._pid}/status") as status:
    beside = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 1024
hasher.close()
grown = {"import": peak() - idle, "hash": beside - idle}
assert store.path_infos.calculate_nar(info.node).sha256 == info.nar_sha256
grown["render"] = peak() - idle
reader, writer = os.pipe()
if not os.fork():
    os.close(reader)
    with open(writer, "wb") as sink:
        write_nar(file, sink.write)
    os._exit(0)
os.close(writer)
with open(reader, "rb", buffering=0) as source:
    assert import_nar(store, source.read, info.path.name).path == info.path
os.wait()
grown["import of a NAR"] = peak() - idle
export_path(store, info.path, f"{folder}/out")
grown["export"] = peak() - idle
store.close()
print(grown)
assert max(grown.values()) <= int(os.environ["ALLOWED_MIB"]), grown
"""


def generate(path: Path, mebibytes: int) -> Path:
    """A file whose chunks all differ in a tenth of it and are the same in the rest, as disk images are."""
    import random

    source = random.Random(mebibytes)
    with path.open("wb") as file:
        for number in range(mebibytes):
            if number % 10 == 0:
                file.write(source.randbytes(1 << 20))
            else:
                file.seek(1 << 20, 1)
        file.truncate(mebibytes << 20)
    return path


@pytest.mark.parametrize("mebibytes", [512, pytest.param(4096, marks=pytest.mark.soak)])
def test_a_large_file(mebibytes: int, tmp_path: Path, soak: bool) -> None:
    if mebibytes > 512 and not soak:
        pytest.skip("a long run: make soak")
    file = generate(tmp_path / "large", mebibytes)
    environment = {"ALLOWED_MIB": str(ALLOWED_MIB), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", PASSES, file, tmp_path], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
