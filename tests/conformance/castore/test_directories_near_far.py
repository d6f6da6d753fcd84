"""Near and far as one; in `fetching` everything that is written goes far, so that every read has to fetch it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directories.near_far import NearFarDirectoryService
from tvix.castore.directories.pack import PackDirectoryService
from tvix.castore.pack.store import PackStore
from tvix.testing.directories_conformance import *  # noqa: F403
from tvix.testing.pushing import PushingDirectoryService

ENDS: dict[str, Callable[[Path], DirectoryService]] = {
    "memory": lambda _path: MemoryDirectoryService(),
    "pack": lambda path: PackDirectoryService(PackStore(path)),
}


@pytest.fixture(params=["near", *(f"fetching-{near}-{far}" for near in ENDS for far in ENDS)])
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[DirectoryService]:
    if request.param == "near":
        directories: DirectoryService = NearFarDirectoryService(MemoryDirectoryService(), MemoryDirectoryService(), "far:")
    else:
        _, near, far = request.param.split("-")
        far_service = ENDS[far](tmp_path / "far")
        near_far = NearFarDirectoryService(ENDS[near](tmp_path / "near"), far_service, "far:")
        directories = PushingDirectoryService(near_far, far_service)
    yield directories
    directories.close()
