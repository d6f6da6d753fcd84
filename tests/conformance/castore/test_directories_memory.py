"""Directories in memory."""

import pytest

from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.testing.directories_conformance import *  # noqa: F403


@pytest.fixture
def service() -> DirectoryService:
    return MemoryDirectoryService()
