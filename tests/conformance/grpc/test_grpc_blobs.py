"""Blobs in a server, held to the suite."""

from __future__ import annotations

import pytest

from tvix.castore.blobs.interface import BlobService
from tvix.store.store import Store
from tvix.testing.blobs_conformance import *  # noqa: F403


@pytest.fixture
def service(store: Store) -> BlobService:
    return store.blobs
