"""What tests/lang/parse says of its sources is what Nix 2.26 says of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tvix.testing.stock_nix import StockNix

pytestmark = [pytest.mark.nix, pytest.mark.root]

_CASES = [
    case.split("\n--> ")
    for path in sorted((Path(__file__).parents[1] / "lang" / "parse").glob("*.cases"))
    for case in path.read_text().rstrip("\n").split("\n---\n")
]
_PARSE = "nix-instantiate --parse --store dummy:// --extra-experimental-features pipe-operators"
_ONE_BY_ONE = f'for file in "$@"; do {_PARSE} "$file" 2>"$file.err" || cat "$file.err"; printf "\\0"; done'


def _answer(output: str, file: Path, home: Path) -> str:
    """What Nix prints, in the form of the cases."""
    folder = str(file.parent)
    output = output.replace(str(file), "PROGRAM").replace(folder, "/lang")
    place = re.search(r"error: (.*)\n *at PROGRAM:(\d+:\d+):", output)
    if place:
        return f"error: {place[1]} @{place[2]}"
    return output.rstrip("\n").replace(str(home), "/home")


def test_trees(nix226: StockNix, tmp_path: Path) -> None:
    folder = tmp_path / "lang"
    folder.mkdir()
    files = []
    for number, (program, _) in enumerate(_CASES):
        files.append(folder / f"{number}.nix")
        files[-1].write_text(program)
    outputs = nix226.run("sh", "-c", _ONE_BY_ONE, "sh", *files).decode().split("\0")[:-1]
    wrong = []
    for (program, expected), file, output in zip(_CASES, files, outputs, strict=True):
        answer = _answer(output, file, nix226.home)
        if answer != expected and "../" not in program:
            wrong.append(f"{program}\n  here: {expected}\n  Nix: {answer}")
    assert not wrong, "\n".join(wrong)
