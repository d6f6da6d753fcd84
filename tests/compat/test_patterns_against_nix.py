"""Regular expressions that nobody would write: `match` and `split` find what those of Nix 2.26 find."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import pytest

from tvix.eval.regex import pattern
from tvix.eval.regex.pattern import Pattern

if TYPE_CHECKING:
    from pathlib import Path

    from tvix.testing.stock_nix import StockNix

pytestmark = [pytest.mark.nix, pytest.mark.root]

_CASES = 2000 if os.environ.get("TVIX_SOAK") == "1" else 200
_ATOMS = ("a", "b", "c", ".", "[ab]", "[^a]", "[[:alpha:]]", "()", "^", "$", "(|a)", "(a|)")
_QUANTIFIERS = ("*", "+", "?", "{2}", "{1,2}", "{0,2}", "{2,}", "{0}")


def _pattern(rng: random.Random, depth: int) -> str:
    kind = rng.random()
    if depth == 0 or kind < 0.3:
        return rng.choice(_ATOMS[:7] if rng.random() < 0.85 else _ATOMS)
    if kind < 0.5:
        return _pattern(rng, depth - 1) + _pattern(rng, depth - 1)
    if kind < 0.7:
        return f"({_pattern(rng, depth - 1)}|{_pattern(rng, depth - 1)})"
    return f"({_pattern(rng, depth - 1)}){rng.choice(_QUANTIFIERS)}"


def _pieces(found: Pattern, text: str) -> list[object]:
    result: list[object] = []
    at = 0
    for begin, end, groups in found.pieces(text):
        result += [text[at:begin], groups]
        at = end
    return [*result, text[at:]]


# Short texts, for the reference takes exponential time over some of these.
def test_the_same_matches(nix226: StockNix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(int(os.environ.get("SEED", "1")))
    cases = [(_pattern(rng, 3), "".join(rng.choices("abc", k=rng.randrange(6)))) for _ in range(_CASES)]
    listed = "".join([f"(f {json.dumps(written).replace('$', chr(92) + '$')} {json.dumps(text)})\n" for written, text in cases])
    program = tmp_path / "patterns.nix"
    program.write_text(f"let f = p: t: [ (builtins.match p t) (builtins.split p t) ]; in [\n{listed}]")
    said = nix226.json("nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", program)
    for (written, text), answer in zip(cases, said, strict=True):
        found = Pattern(written)
        for steps in (0, 1 << 40):
            monkeypatch.setattr(pattern.EFFORT, "steps", steps)
            assert [found.match(text), _pieces(found, text)] == answer, (written, text)
