"""A near end that drops things at any moment, in front of a far end that comes and goes: every answer is right, or far is away."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tvix.castore.blobs.interface import BlobReader, StoreUnavailable
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.digests import Digest
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directories.pack import PackDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode
from tvix.castore.pack.store import PackStore
from tvix.store.importing import import_path
from tvix.store.near_far import near_far
from tvix.store.path_info import PathInfo
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.path_infos.pack import PackPathInfoService
from tvix.store.store import Store
from tvix.store.verify import verify_store
from tvix.testing.faulty import FaultyBlobService, FaultyDirectoryService
from tvix.testing.trees import Tree, make_tree

NOISE = random.Random(1).randbytes(700_000)
TREE: Tree = {
    b"text": b"the same again and again\n" * 200,
    b"small": NOISE[:100],
    b"large": NOISE,
    b"mixed": NOISE[:200_000] + bytes(200_000) + NOISE[200_000:300_000],
    b"below": {b"%d" % number: NOISE[number * 5000 : number * 6000] for number in range(1, 20)},
    b"deep": {b"a": {b"b": {b"c": b"bottom", b"d": NOISE[7:30_000]}}},
}


class Far:
    """The far end, and everything that is in it."""

    def __init__(self, place: Path) -> None:
        self.store = Store(
            blobs := MemoryBlobService(), directories := MemoryDirectoryService(), MemoryPathInfoService(blobs, directories)
        )
        self.info: PathInfo = import_path(self.store, make_tree(place / "tree", TREE))
        assert type(self.info.node) is DirectoryNode
        self.root = self.info.node.digest
        self.directories: dict[Digest, Directory] = {each.digest: each for each in directories.closure(self.root)}
        files = {node.digest for each in self.directories.values() for node in each.entries.values() if type(node) is FileNode}
        self.contents: dict[Digest, bytes] = {digest: bytes(blob or b"") for digest, blob in blobs.read_many(files)}
        self.files = sorted(files, key=lambda digest: len(self.contents[digest]))


IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of fsyncs are too slow elsewhere
_place = tempfile.TemporaryDirectory(prefix="tvix-forgetting-")
FAR = Far(Path(_place.name))

FILES = st.integers(0, len(FAR.files) - 1)
OPERATIONS = st.one_of(
    st.tuples(st.just("read"), FILES, st.integers(0, 700_000), st.sampled_from([1, 5000, 131_072, 1 << 20])),
    st.tuples(st.just("read again"), FILES, st.integers(0, 700_000), st.sampled_from([1, 5000, 131_072, 1 << 20])),
    st.tuples(st.just("read many"), st.lists(FILES, max_size=8)),
    st.tuples(st.just("closure")),
    st.tuples(st.just("directories"), st.integers(0, len(FAR.directories) - 1)),
    st.tuples(st.just("path info")),
    st.tuples(st.just("nar")),
    st.tuples(st.just("drop"), st.sampled_from([0, 20_000, 200_000])),
    st.tuples(st.just("sync")),
    st.tuples(st.just("far"), st.booleans()),
)


class Cache:
    """The two ends as one, and readers that stay open."""

    def __init__(self, place: Path) -> None:
        self.place = place
        pack = PackStore(place / "near", max_bytes=300_000, pack_bytes=40_000)
        blobs, directories = PackBlobService(pack), PackDirectoryService(pack)
        self.near = Store(blobs, directories, PackPathInfoService(pack, blobs, directories))
        self.far_blobs = FaultyBlobService(FAR.store.blobs)
        self.far_directories = FaultyDirectoryService(FAR.store.directories)
        far = Store(self.far_blobs, self.far_directories, FAR.store.path_infos)
        self.store = near_far(self.near, far, "far:")
        self.readers: dict[Digest, BlobReader] = {}

    def do(self, what: str, *arguments: int | bool | list[int]) -> None:
        """One operation; what it answers is right."""
        getattr(self, what.replace(" ", "_"))(*arguments)

    def read(self, file: int, offset: int, length: int) -> None:
        digest = FAR.files[file]
        reader = self.store.blobs.open(digest)
        assert reader is not None
        self.readers[digest] = reader
        self.read_again(file, offset, length)

    def read_again(self, file: int, offset: int, length: int) -> None:
        digest = FAR.files[file]
        reader = self.readers.get(digest)
        if reader is not None:
            whole = FAR.contents[digest]
            assert reader.size == len(whole)
            assert bytes(reader.read_at(offset, length)) == whole[offset : offset + length]

    def read_many(self, files: list[int]) -> None:
        asked = [FAR.files[file] for file in files]
        found = [(digest, bytes(blob or b"")) for digest, blob in self.store.blobs.read_many(asked)]
        assert found == [(digest, FAR.contents[digest]) for digest in asked]

    def closure(self) -> None:
        assert {each.digest: each for each in self.store.directories.closure(FAR.root)} == FAR.directories

    def directories(self, number: int) -> None:
        digest = list(FAR.directories)[number]
        assert self.store.directories.get_many([digest, FAR.root]) == {d: FAR.directories[d] for d in (digest, FAR.root)}

    def path_info(self) -> None:
        assert self.store.path_infos.get_many([FAR.info.path.digest]) == {FAR.info.path.digest: FAR.info}

    def nar(self) -> None:
        assert self.store.path_infos.calculate_nar(FAR.info.node) == (FAR.info.nar_size, FAR.info.nar_sha256)

    def drop(self, max_bytes: int) -> None:
        """As another process would."""
        other = PackStore(self.place / "near")
        other.trim(max_bytes)
        other.close()

    def sync(self) -> None:
        self.store.sync()

    def far(self, is_there: bool) -> None:
        self.far_blobs.down = self.far_directories.down = not is_there


@given(operations=st.lists(OPERATIONS, max_size=40))
def test_every_answer_is_right_or_far_is_away(operations: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory(prefix="tvix-forgetting-", dir=IN_MEMORY) as place:
        cache = Cache(Path(place))
        for operation in operations:
            try:
                cache.do(*operation)
            except StoreUnavailable:
                assert cache.far_blobs.down, operation
        cache.far(is_there=True)
        for file in range(len(FAR.files)):
            cache.read(file, 0, 1 << 20)
        cache.closure()
        cache.near.sync()
        assert verify_store(cache.near, check_contents=True).problems == []
        cache.near.close()
