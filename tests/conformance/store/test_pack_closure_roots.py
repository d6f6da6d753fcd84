"""Signed closure roots in a pack store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tvix.store.addresses import open_store
from tvix.store.store import Store
from tvix.testing.closure_roots_conformance import *  # noqa: F403


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"pack:{tmp_path}/store") as store:
        yield store
