"""Programs in the language and what comes of them, as tests/lang keeps them; its README.md has the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "/lang/program.nix"
"""The file that every program is."""
_ARROW = "--> "
_DIFFERS = "# C++ Nix differs:"


@dataclass(frozen=True)
class Chunk:
    """One program and what comes of it: a value as text, an error's message, or a trace whose last line is the error."""

    file: str
    line: int
    program: str
    expected: str
    differs: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def is_trace(self) -> bool:
        """Whether the whole trace is to be the same."""
        return self.expected.startswith("trace:\n")

    @property
    def is_error(self) -> bool:
        """Whether the program has no value."""
        return self.is_trace or self.expected.startswith("error: ")


def chunks_of(path: Path) -> list[Chunk]:
    """The programs of one file. AssertionError where the file isn't in the format."""
    found: list[Chunk] = []
    program: list[str] = []
    expected: list[str] = []
    differs = False
    start = 0
    for number, line in enumerate([*path.read_text().split("\n"), ""], 1):
        if expected:
            if line.startswith("    "):
                expected.append(line[4:])
                continue
            assert not line, f"{path.name}:{number}: an empty line ends what is expected"
            found.append(Chunk(path.stem, start, "\n".join(program), "\n".join(expected), differs))
            program, expected, differs = [], [], False
        elif line.startswith(_ARROW):
            assert program, f"{path.name}:{number}: nothing to evaluate"
            expected = [line.removeprefix(_ARROW)]
        elif not program and (not line or line.startswith("#")):
            differs = differs or line.startswith(_DIFFERS)
        else:
            start = start if program else number
            program.append(line)
    assert not program, f"{path.name}:{start}: a program without an expected result"
    return found


def all_chunks(folder: Path) -> list[Chunk]:
    """The programs of all files."""
    return [chunk for path in sorted(folder.glob("*.chunks")) for chunk in chunks_of(path)]
