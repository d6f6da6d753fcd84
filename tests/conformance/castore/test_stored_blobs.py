"""Stores that give and take blobs as they lie: packs, whether they compress or not and whether they forget, and memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.pack.store import PackStore
from tvix.testing.stored_blobs_conformance import *  # noqa: F403
from tvix.testing.stored_blobs_conformance import Service

SERVICES: dict[str, Callable[[Path], Service]] = {
    "pack": lambda path: PackBlobService(PackStore(path)),
    "pack that doesn't compress": lambda path: PackBlobService(PackStore(path, level=0)),
    "pack with a bound": lambda path: PackBlobService(PackStore(path, max_bytes=1 << 30)),
    "memory": lambda _path: MemoryBlobService(),
    "memory with a bound": lambda _path: MemoryBlobService(1 << 30),
}


@pytest.fixture(params=SERVICES)
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    blobs = SERVICES[request.param](tmp_path / "store")
    yield blobs
    blobs.close()
