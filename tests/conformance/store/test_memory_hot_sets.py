"""Hot sets in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tvix.castore.transfer.hot_set import HotSetService
from tvix.store.addresses import open_store
from tvix.testing.hot_sets_conformance import *  # noqa: F403


@pytest.fixture
def hot_sets() -> Iterator[HotSetService]:
    with open_store("memory:") as store:
        assert store.hot_sets is not None
        yield store.hot_sets
