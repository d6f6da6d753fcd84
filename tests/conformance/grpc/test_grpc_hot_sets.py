"""Hot sets in a store server."""

from __future__ import annotations

import pytest

from tvix.castore.transfer.hot_set import HotSetService
from tvix.store.store import Store
from tvix.testing.hot_sets_conformance import *  # noqa: F403

pytestmark = pytest.mark.parametrize("way", ["grpc+tcp", "grpc+unix", "tvix+tcp", "tvix+unix"], indirect=True)
"""Published services have no such thing."""


@pytest.fixture
def hot_sets(store: Store) -> HotSetService:
    assert store.hot_sets is not None
    return store.hot_sets
