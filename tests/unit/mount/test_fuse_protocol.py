"""The session without a kernel: every operation, malformed requests, stores that lie, and a far end that takes its time."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvix.castore.blobs.interface import BlobReader
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode, Name, Node, SymlinkNode
from tvix.mount.counters import Counters
from tvix.mount.engines import fuse_protocol as fuse
from tvix.mount.engines.fuse import FuseSession, KernelTooOld
from tvix.mount.flights import Flights
from tvix.mount.local_source import LocalSource
from tvix.mount.node_table import ROOT
from tvix.mount.source import Stalled
from tvix.mount.threaded_source import ThreadedSource
from tvix.mount.tree import Tree
from tvix.store.near_far import near_far
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.store import Store
from tvix.testing.mount_samples import ABSENT, HELLO, Sample, fill, sample

Kernel = Any  # the class of this name in conftest
Plug = Callable[..., Kernel]
INIT = struct.Struct("<IIII")


def memory_store() -> Store:
    """An empty store."""
    blobs, directories = MemoryBlobService(), MemoryDirectoryService()
    return Store(blobs, directories, MemoryPathInfoService(blobs, directories))


@pytest.fixture
def store() -> Store:
    """A store with the sample."""
    store = memory_store()
    fill(store)
    return store


@pytest.fixture
def kernel(plug: Plug, store: Store) -> Kernel:
    """A kernel on the whole of it."""
    return plug(Tree(None), LocalSource(store))


@pytest.fixture
def paths() -> Sample:
    """The store paths of the sample."""
    return sample()


def root_of(entries: dict[bytes, Node]) -> tuple[Tree, Directory]:
    """A tree whose root is a directory with these entries."""
    directory = Directory.of([(Name(name), node) for name, node in entries.items()])
    tree = Tree(directory.digest)
    tree.adopt(ROOT, directory)
    return tree, directory


def test_the_greeting_takes_what_is_offered_and_no_more(kernel: Kernel) -> None:
    for offered in (0, 0xFFFFFFFF, fuse.MAX_PAGES | fuse.NO_OPENDIR_SUPPORT):
        error, payload = kernel.ask(fuse.INIT, 0, INIT.pack(7, 45, 131072, offered) + bytes(48))
        major, minor, ahead, flags, _, _, write, grain, pages, _, _, _ = fuse.INIT_OUT.unpack(payload)
        assert (error, major, minor, flags & ~offered, grain) == (0, 7, 38, 0, 1)
        assert ahead == 1 << 20
        assert pages == 256
        assert write + 80 <= fuse.REQUEST_BYTES, "a request that doesn't fit the buffer kills the mount"


def test_a_kernel_from_the_future_is_told_our_version(kernel: Kernel) -> None:
    error, payload = kernel.ask(fuse.INIT, 0, INIT.pack(8, 0, 0, 0))
    assert (error, payload[:8]) == (0, struct.pack("<II", 7, 38))


def test_a_kernel_from_the_past_is_refused(kernel: Kernel) -> None:
    kernel.replies.send(kernel.request(fuse.INIT, 0, INIT.pack(7, 19, 0, 0)))
    with pytest.raises(KernelTooOld):
        kernel.session.greet()
    assert kernel.later()[0] == errno.EPROTO


def test_without_noopendir_directories_are_opened(kernel: Kernel) -> None:
    kernel.ask(fuse.INIT, 0, INIT.pack(7, 31, 0, 0))
    error, payload = kernel.ask(fuse.OPENDIR, 1, bytes(8))
    assert (error, len(payload)) == (0, 16)


@pytest.mark.parametrize("operation", range(64))
def test_every_operation_has_an_answer(kernel: Kernel, operation: int) -> None:
    answer = kernel.ask(operation, 1, bytes(64))
    if operation in fuse.UNANSWERED or operation == fuse.INTERRUPT:
        assert answer is None
    elif operation in fuse.WRITES:
        assert answer == (errno.EROFS, b"")
    else:
        assert answer is not None


@given(operation=st.integers(0, 300), node=st.integers(0, 12) | st.integers(0, 2**64 - 1), body=st.binary(max_size=80))
def test_no_request_breaks_the_session(operation: int, node: int, body: bytes) -> None:
    store = memory_store()
    tree = Tree(None)
    for path in fill(store):
        info = store.path_infos.get_many([path.digest])[path.digest]
        tree.adopt_path(path.basename.encode(), info.node)
    session = FuseSession(-1, tree, LocalSource(store), Counters())
    request = fuse.IN_HEADER.pack(40 + len(body), operation, 7, node, 0, 0, 0, 0, 0) + body
    reply = session.respond(memoryview(request))
    if reply is not None:
        reply = b"".join(reply) if isinstance(reply, list) else reply
        length, error, unique = struct.unpack_from("<IiQ", reply)
        assert (length, unique) == (len(reply), 7)
        assert -200 < error <= 0


def test_a_request_of_the_wrong_length_is_refused(kernel: Kernel) -> None:
    request = kernel.request(fuse.GETATTR)
    assert kernel.opened(kernel.session.respond(memoryview(request + b"x"))) == (errno.EIO, b"")
    assert kernel.session.respond(memoryview(request[:20])) is None


def test_names_at_the_root_of_a_store_are_asked_for_again(kernel: Kernel, paths: Sample) -> None:
    name = paths.file.basename.encode()
    assert kernel.ask(fuse.LOOKUP, 1, name[:-1] + b"\0") == (errno.ENOENT, b"")
    node = kernel.lookup(1, name)
    _, _, entry_seconds, attribute_seconds = struct.unpack_from("<QQQQ", kernel.ask(fuse.LOOKUP, 1, name + b"\0")[1])
    assert entry_seconds == attribute_seconds == fuse.FOREVER
    assert node > 1


def test_names_elsewhere_are_missing_for_ever(kernel: Kernel, paths: Sample) -> None:
    deep = kernel.lookup(1, paths.deep.basename.encode())
    for name in (b"nope", b"..", b".", b"", b"a/run"):
        error, payload = kernel.ask(fuse.LOOKUP, deep, name + b"\0")
        assert (error, struct.unpack_from("<QQQ", payload)) == (0, (0, 0, fuse.FOREVER))


@pytest.mark.parametrize("operation", [fuse.READDIR, fuse.READDIRPLUS])
@pytest.mark.parametrize("room", [512, 4096, 65536])
def test_a_huge_directory_comes_in_pieces(plug: Plug, operation: int, room: int) -> None:
    store = memory_store()
    nodes = (FileNode(digest_of(b""), 0, False), SymlinkNode(b"x"))
    tree, _ = root_of({b"%0*d" % (1 + number % 200, number): nodes[number % 2] for number in range(3000)})
    kernel = plug(tree, LocalSource(store))
    names: list[bytes] = []
    offset = 0
    while True:
        error, payload = kernel.ask(operation, 1, struct.pack("<QQI", 0, offset, room) + bytes(20))
        assert error == 0
        assert len(payload) <= room
        if not payload:
            break
        at = 0
        while at < len(payload):
            at += 128 if operation == fuse.READDIRPLUS else 0
            node, offset, length, kind = fuse.DIRENT.unpack_from(payload, at)
            name = payload[at + 24 : at + 24 + length]
            names.append(name)
            assert kind == (4 if name in (b".", b"..") else (8, 10)[int(name) % 2])
            assert node >= 1
            at += (24 + length + 7) & ~7
    assert names[:2] == [b".", b".."]
    assert sorted(names[2:], key=int) == sorted(tree_names(tree), key=int)


def tree_names(tree: Tree) -> list[bytes]:
    """What is in the root."""
    return list(tree.names[ROOT])


def test_listings_say_more_once_somebody_wants_more(plug: Plug, store: Store, paths: Sample) -> None:
    kernel = plug(Tree(None), LocalSource(store))
    deep = kernel.lookup(1, paths.deep.basename.encode())
    tools = kernel.lookup(deep, b"a")
    other = kernel.lookup(deep, b"b")

    def told(node: int) -> list[int]:
        _, payload = kernel.ask(fuse.READDIRPLUS, node, struct.pack("<QQI", 0, 2, 4096) + bytes(20))
        return [struct.unpack_from("<Q", payload, at)[0] for at in (0, 160)]

    assert told(tools) == [0, 0]
    kernel.lookup(tools, b"run")
    assert 0 not in told(other)


def test_lies_about_sizes_are_errors(plug: Plug) -> None:
    store = memory_store()
    digest = store.blobs.put(HELLO)
    nodes = {
        b"longer": FileNode(digest, 13, False),
        b"shorter": FileNode(digest, 11, True),
        b"impossible": FileNode(digest, 1 << 63, False),
        b"missing": FileNode(ABSENT, 12, False),
        b"right": FileNode(digest, 12, False),
    }
    tree, _ = root_of(dict(nodes))
    kernel = plug(tree, LocalSource(store))
    assert kernel.ask(fuse.LOOKUP, 1, b"impossible\0") == (errno.EIO, b"")
    for name in (b"longer", b"shorter", b"missing"):
        assert kernel.read(kernel.lookup(1, name), 0, 4096) == (errno.EIO, b"")
    right = kernel.lookup(1, b"right")
    assert kernel.read(right, 0, 4096) == (0, HELLO)
    assert kernel.read(right, 6, 3) == (0, HELLO[6:9])
    assert kernel.read(right, 12, 3) == (0, b"")
    assert kernel.read(right, 1 << 62, 3) == (0, b"")
    stats = json.loads(kernel.session.stats())
    assert stats["errors"] == 4
    assert "blake3-" in stats["lastError"]


class Slow:
    """A far blob service that answers when it is told to, with `contents` whatever was asked for."""

    def __init__(self, contents: dict[Digest, bytes]) -> None:
        self.contents = contents
        self.asked: list[Digest] = []
        self.begun = Event()
        self.go = Event()

    def open(self, digest: Digest) -> BlobReader | None:
        """See `BlobService`."""
        self.asked.append(digest)
        self.begun.set()
        assert self.go.wait(20)
        service = MemoryBlobService()
        return service.open(service.put(self.contents[digest])) if digest in self.contents else None

    def missing(self, _digests: object) -> set[Digest]:
        """See `BlobService`."""
        return set()

    def close(self) -> None:
        """See `BlobService`."""


class Far:
    """A kernel on one file that is far."""

    def __init__(self, plug: Plug, contents: bytes) -> None:
        self.slow = Slow({digest_of(HELLO): contents})
        near, far = memory_store(), memory_store()
        far.blobs = self.slow  # type: ignore[assignment]
        tree, _ = root_of({b"file": FileNode(digest_of(HELLO), 12, False), b"other": SymlinkNode(b"file")})
        self.kernel = plug(tree, ThreadedSource(near_far(near, far, "far:"), near, 1000.0, lambda: 0.0))
        self.file = self.kernel.lookup(1, b"file")


@pytest.fixture
def far(plug: Plug) -> Iterator[Far]:
    """A far end that is slow and honest."""
    end = Far(plug, HELLO)
    yield end
    end.slow.go.set()


def test_one_flight_for_all_who_read_one_blob_and_the_loop_goes_on(far: Far) -> None:
    kernel = far.kernel
    for offset in range(5):
        assert kernel.read(far.file, offset, 2) is None
    assert far.slow.begun.wait(20)
    assert kernel.lookup(1, b"other") > 1, "others aren't held up"
    assert json.loads(kernel.session.stats())["waiting"] == 5
    far.slow.go.set()
    assert [kernel.later() for _ in range(5)] == [(0, HELLO[offset : offset + 2]) for offset in range(5)]
    assert far.slow.asked == [digest_of(HELLO)]
    assert kernel.read(far.file, 0, 12) == (0, HELLO), "it is near now"


@pytest.mark.parametrize("contents", [b"Hello World?", HELLO + b"!", HELLO[:-1], b""])
def test_wrong_bytes_from_far_are_an_error_for_all_who_wait(plug: Plug, contents: bytes) -> None:
    far = Far(plug, contents)
    assert far.kernel.read(far.file, 0, 4) is None
    assert far.kernel.read(far.file, 4, 4) is None
    far.slow.go.set()
    assert [far.kernel.later() for _ in range(2)] == [(errno.EIO, b"")] * 2


def test_who_is_being_killed_is_let_go(far: Far) -> None:
    kernel = far.kernel
    kernel.read(far.file, 0, 4)  # of process 0, which can't be seen from here
    meant = kernel.unique
    assert kernel.ask(fuse.INTERRUPT, 0, struct.pack("<Q", meant)) is None
    assert kernel.later() == (errno.EINTR, b"")
    assert kernel.asked[-1] == meant


def test_a_signal_that_is_handled_interrupts_nothing(far: Far) -> None:
    kernel = far.kernel
    kernel.pid = os.getpid()
    kernel.read(far.file, 0, 4)
    assert kernel.ask(fuse.INTERRUPT, 0, struct.pack("<Q", kernel.unique)) is None
    far.slow.go.set()
    assert kernel.later() == (0, HELLO[:4])


def test_who_is_gone_is_given_up_although_nothing_was_interrupted(far: Far) -> None:
    kernel = far.kernel
    kernel.pid = os.getpid()
    kernel.read(far.file, 0, 4)
    kernel.pid = 0  # which can't be seen from here
    kernel.read(far.file, 2, 4)
    with subprocess.Popen(["true"]) as ended:
        kernel.pid = ended.pid
    kernel.read(far.file, 4, 4)
    assert kernel.later() == (errno.EINTR, b"")
    assert kernel.asked[-1] == kernel.unique
    assert json.loads(kernel.session.stats())["waiting"] == 2
    far.slow.go.set()
    assert [kernel.later() for _ in range(2)] == [(0, HELLO[:4]), (0, HELLO[2:6])]


def test_who_waits_too_long_is_told_so() -> None:
    heard = [float("inf")]
    flights = Flights(0.0, lambda: heard[0])
    go = Event()
    told: list[object] = []
    flights.board("key", 1, go.wait, told.append)
    flights.expire()
    assert told == [], "far has just said something"
    heard[0] = 0.0
    flights.expire()
    assert [type(error) for error in told] == [Stalled]
    go.set()
    flights.close()
