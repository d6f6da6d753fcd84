"""Programs that fail, with the text that `nix-instantiate` prints on stderr, as tests/lang/errors keeps them; its README.md has the
format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "/tmp/program.nix"  # noqa: S108 (a name in texts, nothing is written there)
"""The file that every program is. How tabs are shown depends on the length of this."""
_BEGIN = "==="
_TEXT = "--- "
_DIFFERS = "# C++ Nix differs:"
_ASK = (
    'cd "$1"; for file in *; do for trace in "" --show-trace; do cp "$file" {program}; strict=; '
    'case "$file" in *strict) strict=--strict;; esac; '
    'nix-instantiate --eval $strict $trace --store dummy:// {program} 2>&1; printf "\\0"; done; done'
)


@dataclass(frozen=True)
class ErrorText:
    """A program, and what is printed for it without and with `--show-trace`. `strict` programs are evaluated deeply."""

    file: str
    line: int
    comments: tuple[str, ...]
    program: bytes
    strict: bool
    short: str
    full: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def differs(self) -> bool:
        """Whether the texts are ours, and not those of C++ Nix."""
        return any(comment.startswith(_DIFFERS) for comment in self.comments)


def error_texts_of(path: Path) -> list[ErrorText]:
    """The programs of one file. AssertionError where the file isn't in the format."""
    found: list[ErrorText] = []
    comments: list[str] = []
    lines = path.read_text().split("\n")
    index = 0
    while index < len(lines):
        line = lines[index]
        if not line.startswith(_BEGIN):
            assert not line or line.startswith("#"), f"{path.name}:{index + 1}: neither a comment nor the beginning of a program"
            comments += [line] if line or comments else []
            index += 1
            continue
        words = line.removeprefix(_BEGIN).split()
        start = index + 1
        program, index = _until(lines, start, _TEXT)
        texts = {}
        while index < len(lines) and lines[index].startswith(_TEXT):
            kind = lines[index].removeprefix(_TEXT)
            text, index = _until(lines, index + 1, _TEXT, "", _BEGIN)
            texts[kind] = "\n".join(part.removeprefix("| ").removeprefix("|") for part in text)
        both = texts.get("both", "")
        data = _unescaped("\n".join(program)) if "escaped" in words else "\n".join(program).encode()
        short, full = texts.get("short", both), texts.get("full", both)
        found.append(ErrorText(path.stem, start, tuple(comments), data, "strict" in words, short, full))
        comments = []
    return found


def all_error_texts(folder: Path) -> list[ErrorText]:
    """The programs of all files."""
    return [item for path in sorted(folder.glob("*.texts")) for item in error_texts_of(path)]


def written(item: ErrorText) -> str:
    """A program and its texts in the format of the files."""
    program = item.program.decode("latin-1")
    escaped = re.search(r"[\x00-\x09\x0b-\x1f\xff]|\A\Z|\A\n|\n\Z|\n\n\n", program) is not None
    words = [_BEGIN, *(["strict"] if item.strict else []), *(["escaped"] if escaped else [])]
    shown = re.sub(r"[^\n -\[\]-~]", lambda match: f"\\x{ord(match[0]):02x}", program) if escaped else item.program.decode()
    out = [*item.comments, " ".join(words), shown]
    texts = [("both", item.short)] if item.short == item.full else [("short", item.short), ("full", item.full)]
    for kind, text in texts:
        out.append(_TEXT + kind)
        out += [f"| {line}" if line else "|" for line in text.split("\n")]
    return "\n".join(out) + "\n"


def question(items: list[ErrorText], folder: Path) -> tuple[str, ...]:
    """A command that a `StockNix` is to run for the texts of programs, which are put into `folder`: see `answers`."""
    folder.mkdir()
    for index, item in enumerate(items):
        (folder / f"{index:05}{'-strict' if item.strict else ''}").write_bytes(item.program)
    return "sh", "-c", _ASK.format(program=PROGRAM), "sh", str(folder)


def answers(output: bytes) -> list[tuple[str, str]]:
    """The texts of every program, without and with its trace, out of what the command printed."""
    texts = [text.decode(errors="backslashreplace").removesuffix("\n") for text in output.split(b"\0")[:-1]]
    return list(zip(texts[::2], texts[1::2], strict=True))


def _until(lines: list[str], start: int, *ends: str) -> tuple[list[str], int]:
    """The lines up to one that begins as one of `ends` says, or is empty, where that is empty."""
    index = start
    while index < len(lines) and not any(lines[index].startswith(end) if end else not lines[index] for end in ends):
        index += 1
    return lines[start:index], index


def _unescaped(program: str) -> bytes:
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), program.encode())
