"""docs/errors.md says what the classes say, and identifiers mean one thing each."""

from __future__ import annotations

import string
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def errors_manual() -> object:
    """The script that makes it."""
    sys.path.insert(0, str(ROOT / "packaging"))
    try:
        import errors_manual
    finally:
        sys.path.pop(0)
    return errors_manual


def test_manual_is_current(errors_manual) -> None:  # noqa: ANN001
    assert (ROOT / "docs/errors.md").read_text() == errors_manual.manual(), "run: .venv/bin/python packaging/errors_manual.py"


def test_identifiers_are_unique(errors_manual) -> None:  # noqa: ANN001
    seen: dict[str, type] = {}
    for kind in errors_manual.error_classes():
        assert kind.identifier not in seen, f"{kind.identifier}: {seen[kind.identifier]} and {kind}"
        seen[kind.identifier] = kind


def test_exit_codes_are_documented(errors_manual) -> None:  # noqa: ANN001
    for kind in errors_manual.error_classes():
        assert f"\n| {kind.exit_code} |" in (ROOT / "docs/errors.md").read_text(), kind


def test_hints_have_no_fields(errors_manual) -> None:  # noqa: ANN001
    """Only messages are filled in."""
    for kind in errors_manual.error_classes():
        assert not any(field for _, field, _, _ in string.Formatter().parse(kind.hint or "")), kind
