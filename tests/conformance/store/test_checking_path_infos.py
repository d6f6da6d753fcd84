"""Path infos that are checked as they come in, held to the suite."""

from __future__ import annotations

import pytest

from tvix.store.addresses import open_store
from tvix.store.path_infos.checking import CheckingPathInfoService
from tvix.store.store import Store
from tvix.testing.path_infos_conformance import *  # noqa: F403


@pytest.fixture
def store() -> Store:
    inner = open_store("memory:")
    return Store(inner.blobs, inner.directories, CheckingPathInfoService(inner.path_infos, inner.blobs, inner.directories))
