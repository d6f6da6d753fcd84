"""Path infos in memory, held to the suite."""

from __future__ import annotations

import pytest

from tvix.store.addresses import open_store
from tvix.store.store import Store
from tvix.testing.path_infos_conformance import *  # noqa: F403


@pytest.fixture
def store() -> Store:
    return open_store("memory:")
