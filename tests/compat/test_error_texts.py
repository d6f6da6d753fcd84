"""The texts in tests/lang/errors are those that Nix 2.26 prints: a part that the seed chooses, or, in `make soak`, all of them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tvix.testing.error_texts import all_error_texts, answers, question
from tvix.testing.stock_nix import StockNix

pytestmark = [pytest.mark.nix, pytest.mark.root]

_ITEMS = [item for item in all_error_texts(Path(__file__).parents[1] / "lang" / "errors") if not item.differs]
_ASKED = 40


def test_texts(nix226: StockNix, tmp_path: Path) -> None:
    items = _ITEMS
    if os.environ.get("TVIX_SOAK") != "1":
        items = random.Random(int(os.environ["SEED"])).sample(items, min(_ASKED, len(items)))
    texts = answers(nix226.run(*question(items, tmp_path / "programs")))
    wrong = [f"{item}: {now}" for item, now in zip(items, texts, strict=True) if now != (item.short, item.full)]
    assert not wrong
