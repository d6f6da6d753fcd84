"""Near and far as one: what is written goes near, what is read may come from far, so both ways are held to the suite.

In `fetching` everything that is written is moved far at once, so that every read has to fetch it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tvix.castore.blobs.interface import BlobService
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.blobs.near_far import NearFarBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.pack.store import PackStore
from tvix.testing.blobs_conformance import *  # noqa: F403
from tvix.testing.pushing import PushingBlobService

NEARS: dict[str, Callable[[Path], BlobService]] = {
    "memory": lambda _path: MemoryBlobService(),
    "small-memory": lambda _path: MemoryBlobService(max_bytes=1_000_000),
    "tiny-memory": lambda _path: MemoryBlobService(max_bytes=10),
    "pack": lambda path: PackBlobService(PackStore(path / "near")),
    "forgetful-pack": lambda path: PackBlobService(PackStore(path / "near", max_bytes=400_000, pack_bytes=100_000)),
}
FARS: dict[str, Callable[[Path], BlobService]] = {
    "memory": lambda _path: MemoryBlobService(),
    "pack": lambda path: PackBlobService(PackStore(path / "far"), 4096),
}


@pytest.fixture(params=["near", *(f"fetching-{near}-{far}" for near in NEARS for far in FARS)])
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[BlobService]:
    if request.param == "near":
        blobs: BlobService = NearFarBlobService(MemoryBlobService(), MemoryBlobService(), "far:")
    else:
        near, far = request.param.removeprefix("fetching-").rsplit("-", 1)
        far_service = FARS[far](tmp_path)
        blobs = PushingBlobService(NearFarBlobService(NEARS[near](tmp_path), far_service, "far:"), far_service)
    yield blobs
    blobs.close()
