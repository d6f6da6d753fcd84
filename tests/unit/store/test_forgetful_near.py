"""What a near end has dropped, directories from below and blobs while a NAR is made, is completed from far."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.blobs.memory import BytesReader, MemoryBlobService
from tvix.castore.blobs.pack import ChunkedReader, PackBlobService, SingleReader
from tvix.castore.digests import Digest
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directories.near_far import NearFarDirectoryService
from tvix.castore.directories.pack import PackDirectoryService
from tvix.castore.nodes import FileNode
from tvix.castore.pack.store import PackStore
from tvix.store.importing import import_path
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.path_infos.near_far import NearFarPathInfoService
from tvix.store.path_infos.pack import PackPathInfoService
from tvix.store.store import Store
from tvix.testing.directories_conformance import TREE
from tvix.testing.faulty import FaultyDirectoryService

ROOT = TREE[-1].digest


def half_dropped(path: Path) -> PackDirectoryService:
    """The root is there, what is below it was dropped."""
    store = PackStore(path, pack_bytes=100, partial=True)
    directories = PackDirectoryService(store)
    for directory in TREE:
        directories.put([directory])
        store.sync()
    store.trim(300)
    assert not directories.missing([ROOT])
    assert directories.missing([directory.digest for directory in TREE])
    return directories


def test_a_closure_is_completed_from_far(tmp_path: Path) -> None:
    far = MemoryDirectoryService()
    far.put(TREE)
    service = NearFarDirectoryService(half_dropped(tmp_path / "near"), far, "far:")
    assert {each.digest for each in service.closure(ROOT)} == {each.digest for each in TREE}
    assert service.get_many([each.digest for each in TREE]).keys() == {each.digest for each in TREE}


def test_without_far_it_is_away_and_not_incomplete(tmp_path: Path) -> None:
    far = FaultyDirectoryService(MemoryDirectoryService())
    far.down = True
    service = NearFarDirectoryService(half_dropped(tmp_path / "near"), far, "far:")
    with pytest.raises(StoreUnavailable):
        list(service.closure(ROOT))
    assert service.get_many([ROOT]).keys() == {ROOT}


class DropsWhileReading(PackBlobService):
    """Whatever is opened is dropped before it is read."""

    def __init__(self, store: PackStore, path: Path) -> None:
        super().__init__(store)
        self._path = path

    def open(self, digest: Digest) -> BytesReader | SingleReader | ChunkedReader | None:
        reader = super().open(digest)
        PackStore(self._path).trim(0)
        return reader


def test_a_nar_that_near_can_t_finish_is_made_far(tmp_path: Path) -> None:
    blobs, directories = MemoryBlobService(), MemoryDirectoryService()
    far = Store(blobs, directories, MemoryPathInfoService(blobs, directories))
    tree = tmp_path / "tree"
    tree.write_bytes(random.Random(1).randbytes(1_000_000))
    info = import_path(far, tree)
    assert type(info.node) is FileNode
    pack = PackStore(tmp_path / "near", pack_bytes=100_000, partial=True)
    near = DropsWhileReading(pack, tmp_path / "near")
    near.put(tree.read_bytes())
    pack.sync()
    service = NearFarPathInfoService(PackPathInfoService(pack, near, PackDirectoryService(pack)), far.path_infos)
    assert service.calculate_nar(info.node) == (info.nar_size, info.nar_sha256)
