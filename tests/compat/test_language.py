"""What tests/lang says of its programs is what Nix 2.26 says: every value, and of the errors a part that the seed chooses.

All values are asked for in one process; an error ends the process it is in. `make soak` asks for every error.
"""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from tvix.testing.language import PROGRAM, Chunk, all_chunks
from tvix.testing.stock_nix import StockNix

pytestmark = [pytest.mark.nix, pytest.mark.root]

_CHUNKS = [chunk for chunk in all_chunks(Path(__file__).parents[1] / "lang") if not chunk.differs]
_ERRORS_ASKED = 60
_EVALUATE = "nix-instantiate --eval --strict --show-trace --store dummy:// --option extra-experimental-features flakes"
_ONE_BY_ONE = f'for file in "$@"; do {_EVALUATE} "$file" 2>&1; printf "\\0"; done'


def _written(folder: Path, chunks: list[Chunk]) -> list[Path]:
    """Each program as a file of the same name, in a directory of its own."""
    files = []
    for index, chunk in enumerate(chunks):
        file = folder / str(index) / "lang" / "program.nix"
        file.parent.mkdir(parents=True)
        file.write_text(chunk.program)
        files.append(file)
    return files


def _differences(chunks: list[Chunk], files: list[Path], answers: list[str]) -> list[str]:
    wrong = []
    for chunk, file, answer in zip(chunks, files, answers, strict=True):
        said = answer.replace(str(file.parent), PROGRAM.rpartition("/")[0])
        if said != chunk.expected:
            wrong.append(f"{chunk}: {chunk.program}\n  here: {chunk.expected}\n  Nix: {said}")
    return wrong


def _trace(output: str) -> str:
    """What Nix prints of an error, in the form of tests/lang."""
    lines: list[str] = ["trace:"]
    for line in output.split("\n"):
        place = re.match(r"\s+at .*:(\d+:\d+):$", line)
        if place:
            lines[-1] += f" @{place[1]}"
        elif line.strip() not in {"", "error:"} and not re.match(r"\s*\d*\||Try 'nix-instantiate --help'", line):
            lines.append(line.strip())
    return "\n".join(lines)


def _message(output: str) -> str:
    """The message alone, and of that of TOML the first line: the others draw a picture of the place."""
    trace = _trace(output)
    last = next(line for line in trace.split("\n") if line.startswith("error: ")) if "parsing TOML" in trace else trace
    return re.sub(r" @\d+:\d+$", "", last.rpartition("\n")[2])


def test_values(nix226: StockNix, tmp_path: Path) -> None:
    chunks = [chunk for chunk in _CHUNKS if not chunk.is_error]
    files = _written(tmp_path, chunks)
    answers = nix226.run("sh", "-c", f'{_EVALUATE} "$@"', "sh", *files).decode(errors="backslashreplace")
    assert not _differences(chunks, files, answers.removesuffix("\n").split("\n"))


def test_errors(nix226: StockNix, tmp_path: Path) -> None:
    chunks = [chunk for chunk in _CHUNKS if chunk.is_error]
    if os.environ.get("TVIX_SOAK") != "1":
        chunks = random.Random(int(os.environ["SEED"])).sample(chunks, min(_ERRORS_ASKED, len(chunks)))
    files = _written(tmp_path, chunks)
    outputs = nix226.run("sh", "-c", _ONE_BY_ONE, "sh", *files).decode(errors="backslashreplace").split("\0")[:-1]
    answers = [_trace(output) if chunk.is_trace else _message(output) for chunk, output in zip(chunks, outputs, strict=True)]
    assert not _differences(chunks, files, answers)
