"""The index of decisions."""

from __future__ import annotations

from pathlib import Path

ADR = Path(__file__).parents[3] / "docs" / "adr"


def test_every_decision_is_in_the_index_under_its_title() -> None:
    index = (ADR / "README.md").read_text()
    for page in sorted(ADR.glob("0*.md")):
        number, _, title = page.read_text().partition("\n")[0].removeprefix("# ").partition(". ")
        assert page.name.startswith(f"{int(number):04}-")
        assert f"{number}. [{title}]({page.name})\n" in index
