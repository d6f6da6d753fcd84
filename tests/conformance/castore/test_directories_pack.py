"""Directories in a pack store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directories.pack import PackDirectoryService
from tvix.castore.pack.store import PackStore
from tvix.testing.directories_conformance import *  # noqa: F403


@pytest.fixture
def service(tmp_path: Path) -> Iterator[DirectoryService]:
    directories = PackDirectoryService(PackStore(tmp_path / "store"))
    yield directories
    directories.close()
