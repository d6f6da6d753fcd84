"""Two sites."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvix.testing.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


@pytest.fixture
def other_site(tmp_path: Path) -> Site:
    return Site(tmp_path / "elsewhere", "elsewhere")
