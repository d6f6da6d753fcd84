"""Directories in a server, held to the suite."""

from __future__ import annotations

import pytest

from tvix.castore.directories.interface import DirectoryService
from tvix.store.store import Store
from tvix.testing.directories_conformance import *  # noqa: F403


@pytest.fixture
def service(store: Store) -> DirectoryService:
    return store.directories
