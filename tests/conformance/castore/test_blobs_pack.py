"""Blobs in a pack store, with chunks of the usual size and with tiny ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tvix.castore.blobs.interface import BlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.pack.store import PackStore
from tvix.testing.blobs_conformance import *  # noqa: F403


@pytest.fixture(params=[None, 1024], ids=["usual", "tiny"])
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[BlobService]:
    blobs = PackBlobService(PackStore(tmp_path / "store"), request.param)
    yield blobs
    blobs.close()
