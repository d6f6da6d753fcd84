"""Floats are written in JSON with the digits that Nix 2.26 writes, which aren't always the fewest."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tvix.eval.formats.json_write import float_text

if TYPE_CHECKING:
    from pathlib import Path

    from tvix.testing.stock_nix import StockNix

pytestmark = [pytest.mark.nix, pytest.mark.root]

_BOUNDS = [
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    1e23,
    2.0**53,
    0.3,
    1e-4,
    1e-5,
    1e15,
    1e16,
    2.0**60,
    4.9e-320,
    -0.0,
]
_COUNT = 200_000 if os.environ.get("TVIX_SOAK") == "1" else 20_000


def _float(rng: random.Random) -> float:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.uniform(-1e6, 1e6)
    if kind == 1:
        return float(rng.random() * 10.0 ** rng.randrange(-307, 308))
    if kind == 2:
        return float(f"{rng.randrange(10**6)}e{rng.randrange(-20, 20)}")
    return float(rng.getrandbits(60))


def test_the_same_digits(nix226: StockNix, tmp_path: Path) -> None:
    rng = random.Random(int(os.environ.get("SEED", "1")))
    floats = [*_BOUNDS, *[_float(rng) for _ in range(_COUNT)]]
    (tmp_path / "floats.json").write_text("[" + ",".join([repr(number) for number in floats]) + "]")
    program = tmp_path / "floats.nix"
    program.write_text("builtins.fromJSON (builtins.readFile ./floats.json)")
    said = nix226.line("nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", program)
    different = [(number, text) for number, text in zip(floats, said[1:-1].split(","), strict=True) if float_text(number) != text]
    assert not different
