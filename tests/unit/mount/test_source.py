"""What a mount holds on to: near decides what is kept in memory, not the readers that happen to be open."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvix.castore.blobs.memory import BytesReader, MemoryBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.digests import Digest
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.pack.store import PackStore
from tvix.mount.local_source import LocalSource
from tvix.mount.source import WrongBlobSize
from tvix.mount.threaded_source import ThreadedSource
from tvix.store.near_far import near_far
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.store import Store


class Counted(MemoryBlobService):
    """Counts how often each blob is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[Digest] = []

    def open(self, digest: Digest) -> BytesReader | None:
        self.opened.append(digest)
        return super().open(digest)


def store_of(blobs: MemoryBlobService) -> Store:
    directories = MemoryDirectoryService()
    return Store(blobs, directories, MemoryPathInfoService(blobs, directories))


@pytest.mark.parametrize("read_near", [True, False])
def test_what_near_forgot_is_not_held_by_a_reader(read_near: bool) -> None:
    far, near = Counted(), MemoryBlobService(100_000)
    blobs = [(far.put(bytes((number,)) * 60_000), 60_000) for number in range(3)]
    source = ThreadedSource(near_far(store_of(near), store_of(far), "far"), store_of(near), 30.0, lambda: 0.0)
    for digest, size in blobs:
        assert source.open(digest, size) is None
        assert source.fetch_reader(digest, size).size == size
        if read_near:
            reader = source.open(digest, size)
            assert reader is not None
            assert bytes(reader.read_at(0, 1)) == bytes((blobs.index((digest, size)),))
    first, size = blobs[0]
    assert source.open(first, size) is None
    before = far.opened.count(first)
    source.fetch_reader(first, size)
    assert far.opened.count(first) == before + 1


def test_readers_are_kept_but_not_many_and_believe_no_other_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvix.mount.local_source._READERS_MAX", 3)
    blobs = PackBlobService(PackStore(tmp_path))
    directories = MemoryDirectoryService()
    digests = [blobs.put(bytes((number,)) * 100) for number in range(5)]
    blobs.sync()
    source = LocalSource(Store(blobs, directories, MemoryPathInfoService(blobs, directories)))
    for number, digest in enumerate(digests):
        for _ in range(2):
            assert source.near_contents(digest, 100, 7, 2) == (bytes((number,)) * 2,)
        with pytest.raises(WrongBlobSize):
            source.near_contents(digest, 99, 0, 1)
    assert len(source._readers) == 3
    blobs.close()
