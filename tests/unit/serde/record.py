"""Writes what is said about the wrong input of wrong.cases: `python tests/unit/serde/record.py`. Read what changed.

A case is a text, then `----`, then what is said; cases are divided by lines of `====`.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

CASES = Path(__file__).with_name("wrong.cases")


def cases() -> list[tuple[str, str]]:
    """Each text, and what is said about it."""
    found = []
    for case in CASES.read_text().split("\n====\n"):
        text, _, said = case.strip("\n").partition("\n----\n")
        found.append((text.removesuffix("\n----"), said))
    return found


def said_about(text: str) -> str:
    """The one line, then the report."""
    from tests.unit.serde.schema import Everything
    from tvix.serde import SchemaMismatch, load

    try:
        load(text, Everything, name="wrong.nix")
    except SchemaMismatch as error:
        return f"{error}\n\n{error.report()}"
    return "nothing is wrong"


if __name__ == "__main__":
    CASES.write_text("\n====\n".join([f"{text}\n----\n{said_about(text)}" for text, _ in cases()]) + "\n")
