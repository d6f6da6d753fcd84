"""Every source of `*.cases` has the tree, or the error and its place, that `nix-instantiate --parse` of Nix 2.26 prints.

Sources are separated by lines `---`; `--> ` begins what is printed. They lie in `/lang`, and `~` is `/home`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tvix.eval.errors import EvalError
from tvix.eval.io import NoIO
from tvix.eval.parser import parse
from tvix.eval.positions import CURRENT, Sources, line_and_column, offset_of
from tvix.eval.printer import canonical
from tvix.eval.source_printer import source
from tvix.eval.tree_json import tree_json

CASES = [
    pytest.param(*case.split("\n--> "), id=f"{path.stem}:{number}")
    for path in sorted(Path(__file__).parent.glob("*.cases"))
    for number, case in enumerate(path.read_text().rstrip("\n").split("\n---\n"), 1)
]


@pytest.fixture(autouse=True)
def _sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where errors look up the positions that their texts name."""
    monkeypatch.setattr(CURRENT, "sources", Sources())
    monkeypatch.setattr(CURRENT, "io", NoIO())


def _outcome(text: str) -> str:
    assert CURRENT.sources is not None
    position = CURRENT.sources.string(text, "/lang", "PROGRAM").position(0)
    try:
        return canonical(parse(text, position, pipes=True), "/lang", "/home")
    except EvalError as error:
        line, column = line_and_column(text, offset_of(error.position))
        return f"error: {error.detail} @{line}:{column}"


@pytest.mark.parametrize(("program", "expected"), CASES)
def test_tree(program: str, expected: str) -> None:
    outcome = _outcome(program.encode().decode("latin-1")).encode("latin-1").decode()
    assert outcome == expected


@pytest.mark.parametrize(("program", "expected"), [case for case in CASES if "error: " not in str(case.values[1])])
def test_source_and_json(program: str, expected: str) -> None:
    """The readable source has the same tree, and JSON is JSON."""
    tree = parse(program.encode().decode("latin-1"), 0, pipes=True)
    again = parse(source(tree), 0, pipes=True)
    assert canonical(again, "/lang", "/home") == canonical(tree, "/lang", "/home") == expected.encode().decode("latin-1")
    assert json.loads(tree_json(tree))["type"] == type(again).__name__
