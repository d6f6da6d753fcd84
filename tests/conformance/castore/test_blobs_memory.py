"""Blobs in memory."""

import pytest

from tvix.castore.blobs.interface import BlobService
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.testing.blobs_conformance import *  # noqa: F403


@pytest.fixture
def service() -> BlobService:
    return MemoryBlobService()
