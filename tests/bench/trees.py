"""Trees to measure with: made once per run from a fixed seed."""

from __future__ import annotations

import random
from pathlib import Path

SEED = 1


def make_tree(root: Path, files: int = 50_000, files_per_directory: int = 10) -> Path:
    """`files` files of a log-normal size around 1.5 KiB, as source trees have, in directories two deep."""
    source = random.Random(SEED)
    pool = source.randbytes(1 << 20)
    directories = files // files_per_directory
    for number in range(directories):
        directory = root / f"group-{number % 71:02}" / f"package-{number:05}"
        directory.mkdir(parents=True)
        for index in range(files_per_directory):
            size = min(int(source.lognormvariate(7.3, 1.2)), 200_000)
            start = source.randrange(len(pool) - size)
            (directory / f"file-{index}.txt").write_bytes(b"%d %d\n" % (number, index) + pool[start : start + size])
    return root


def make_large_file(path: Path, size: int) -> Path:
    """A file of `size` bytes that repeats nowhere within a chunk's reach and compresses not at all."""
    source = random.Random(SEED)
    with path.open("wb") as file:
        for offset in range(0, size, 1 << 20):
            file.write(source.randbytes(min(1 << 20, size - offset)))
    return path
