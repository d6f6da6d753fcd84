"""Hot sets in a pack store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tvix.castore.transfer.hot_set import HotSetService
from tvix.store.addresses import open_store
from tvix.testing.hot_sets_conformance import *  # noqa: F403


@pytest.fixture
def hot_sets(tmp_path: Path) -> Iterator[HotSetService]:
    with open_store(f"pack:{tmp_path}/store") as store:
        assert store.hot_sets is not None
        yield store.hot_sets
