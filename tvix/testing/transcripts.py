"""Transcripts: command lines of a program, and what it answered to them.

    $ nix-instantiate --eval -E '{ a = 1; }.b'
    ! error: attribute 'b' missing
    ? 1

A line of stdout begins with `|`, or `:` if no newline ends it, one of stderr with `!`, the exit status with `?` unless it is 0. `<`
is a line of what it is given on stdin, `>` goes on with a command line. `$DIRECTORY`, in which the program runs, and `$HOME` stand
for their paths. `#` begins a comment.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Exchange:
    """A command line and its answer. `line` is where it stands."""

    command: str
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    status: int = 0
    line: int = 0

    @property
    def words(self) -> list[str]:
        """The command line without the program."""
        return shlex.split(self.command)[1:]

    def text(self) -> str:
        """As it stands in a transcript."""
        lines = [("$ " if number == 0 else "> ") + line for number, line in enumerate(self.command.split("\n"))]
        lines += ["< " + line for line in self.stdin.splitlines()]
        lines += [
            ("| " if line.endswith("\n") else ": ") + line.removesuffix("\n") for line in self.stdout.splitlines(keepends=True)
        ]
        lines += ["! " + line for line in self.stderr.splitlines()]
        lines += [f"? {self.status}"] if self.status else []
        return "".join(line.rstrip() + "\n" for line in lines)


def read(path: Path) -> list[Exchange]:
    """The exchanges of a transcript."""
    found: list[Exchange] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        kind, text = line[:1], line[2:]
        if kind == "$":
            found.append(Exchange(text, line=number))
        elif kind and kind != "#":
            found[-1] = _with_line(found[-1], kind, text)
    return found


def _with_line(exchange: Exchange, kind: str, text: str) -> Exchange:
    if kind == "?":
        return replace(exchange, status=int(text))
    field = {">": "command", "<": "stdin", "|": "stdout", ":": "stdout", "!": "stderr"}[kind]
    before = getattr(exchange, field)
    after = f"{before}\n{text}" if kind == ">" else before + text + ("" if kind == ":" else "\n")
    fields: dict[str, Any] = {field: after}
    return replace(exchange, **fields)


def answer(
    exchange: Exchange, run: Callable[[list[str], bytes], tuple[int, bytes, bytes]], directory: Path, home: Path
) -> Exchange:
    """The same command line with what `run` makes of it: from words and stdin to status, stdout and stderr."""
    places = {str(directory): "$DIRECTORY", str(home): "$HOME"}
    words = [_replaced(word, {name: place for place, name in places.items()}) for word in exchange.words]
    status, stdout, stderr = run(words, exchange.stdin.encode())
    out, err = (_stripped(_replaced(data.decode(errors="backslashreplace"), places)) for data in (stdout, stderr))
    return replace(exchange, stdout=out, stderr=err if not err or err.endswith("\n") else err + "\n", status=status)


def _replaced(text: str, places: dict[str, str]) -> str:
    for place, name in places.items():
        text = text.replace(place, name)
    return text


def _stripped(text: str) -> str:
    """Without spaces at the end of lines, which a transcript doesn't show."""
    return "".join(line.rstrip() + ("\n" if line.endswith("\n") else "") for line in text.splitlines(keepends=True))


def write(path: Path, exchanges: Iterator[Exchange]) -> None:
    """Answers for the command lines of a transcript; its comments stay where they are."""
    answers = {exchange.line: exchange for exchange in exchanges}
    kept: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if number in answers:
            kept.append(answers[number].text())
        elif line[:1] in ("", "#"):
            kept.append(line + "\n")
    path.write_text("".join(kept))


def lay_out(directory: Path) -> None:
    """The files that transcripts of evaluations speak of."""
    directory.mkdir()
    for name, contents in _FILES.items():
        place = directory / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(contents)
    for name, target in _LINKS.items():
        (directory / name).symlink_to(target)
    (directory / "empty").mkdir()


_FILES = {
    "f.txt": b"hello",
    "nul": b"a\0b",
    "latin": b"caf\xe9",
    "fn.nix": b"x: { y ? x }: y\n",
    "bad.nix": b"1 +\n",
    "thrown.nix": b'throw "inner"\n',
    "free.nix": b"x\n",
    "d/default.nix": b"{ here = ./.; a = 1; position = __curPos; }\n",
    "d/sub/x": b"",
    "allowed/x.nix": b'"ok"\n',
    "allowed/default.nix": b"""\
{
  imported = import ./x.nix;
  outside = builtins.readFile ../f.txt;
  escaped = builtins.readFile ./escape;
  listed = builtins.readDir ./.;
  above = builtins.readDir ./..;
  outsideExists = builtins.pathExists ../f.txt;
  linkExists = builtins.pathExists ./escape;
  importedOutside = import ../d;
  importedEscape = import ./escape-directory;
  kindOutside = builtins.readFileType ../f.txt;
  kindOfLink = builtins.readFileType ./escape;
  listedOutside = builtins.readDir ../empty;
  absent = builtins.readFileType ./none;
  absentOutside = import ../none;
  variable = builtins.getEnv "HOME";
  inner = builtins.readFile ./inner;
  search = <allowed/x.nix>;
  searchImported = import <allowed/x.nix>;
  found = builtins.findFile [ { path = ../.; prefix = ""; } ] "f.txt";
}
""",
}
_LINKS = {
    "ld": "d",
    "ldef": "d/default.nix",
    "lf": "f.txt",
    "dangling": "nowhere",
    "loop-a": "loop-b",
    "loop-b": "loop-a",
    "allowed/escape": "../f.txt",
    "allowed/escape-directory": "../d",
    "allowed/inner": "x.nix",
}
