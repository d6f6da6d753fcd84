"""What a session does beside answering: who is told when, what is looked at once a second, what errors of the device mean."""

from __future__ import annotations

import errno
import json
import os
import select
import struct
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.digests import Digest
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name, SymlinkNode
from tvix.mount.engines import fuse_protocol as fuse
from tvix.mount.housekeeper import Housekeeper
from tvix.mount.local_source import LocalSource
from tvix.mount.node_table import ROOT
from tvix.mount.source import Done
from tvix.mount.threaded_source import ThreadedSource
from tvix.mount.tree import Tree
from tvix.store.near_far import near_far
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.store import Store
from tvix.testing.mount_samples import fill

Kernel = Any  # the class of this name in conftest
Plug = Callable[..., Kernel]


def empty_store() -> Store:
    blobs, directories = MemoryBlobService(), MemoryDirectoryService()
    return Store(blobs, directories, MemoryPathInfoService(blobs, directories))


class Waiting(LocalSource):
    """Answers no read before it is told to."""

    def __init__(self) -> None:
        super().__init__(empty_store())
        self.asked: dict[int, Done] = {}
        self.expired = 0

    def near_contents(self, digest: Digest, size: int, offset: int, length: int) -> None:
        """See `Source`."""

    def ask_contents(self, ticket: int, _node: int, _digest: Digest, _size: int, _offset: int, _length: int, done: Done) -> None:
        """See `Source`."""
        self.asked[ticket] = done

    def leave(self, ticket: int) -> bool:
        """See `Source`."""
        return self.asked.pop(ticket, None) is not None

    def expire(self) -> None:
        """See `Source`."""
        self.expired += 1


@pytest.fixture
def source() -> Waiting:
    """Of one file."""
    return Waiting()


@pytest.fixture
def kernel(plug: Plug, source: Waiting) -> Kernel:
    """Whose process is this one."""
    directory = Directory.of([(Name(b"file"), FileNode(Digest(bytes(32)), 5, False))])
    tree = Tree(directory.digest)
    tree.adopt(ROOT, directory)
    kernel = plug(tree, source)
    kernel.pid = os.getpid()
    return kernel


def begin_to_read(kernel: Kernel) -> int:
    """The name of a request that waits."""
    assert kernel.read(kernel.tree.names[ROOT][b"file"], 0, 5) is None
    unique: int = kernel.unique
    return unique


def test_once_a_second_while_somebody_waits(kernel: Kernel, source: Waiting) -> None:
    unique = begin_to_read(kernel)
    assert kernel.session._tick()
    assert kernel.session._tick(), "nothing was asked since, but one waits"
    assert source.expired == 2
    source.asked.pop(unique)((b"hello",))
    assert kernel.later() == (0, b"hello")
    assert not kernel.session._tick()


def test_who_asks_for_what_cannot_even_be_asked_for_waits_no_more(
    kernel: Kernel, source: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(source, "ask_contents", ask)
    assert kernel.read(kernel.tree.names[ROOT][b"file"], 0, 5) == (errno.EIO, b"")
    assert json.loads(kernel.session.stats())["waiting"] == 0


def test_who_is_killed_is_let_go_at_once_and_forgotten(kernel: Kernel, source: Waiting) -> None:
    kernel.pid = 0
    unique = begin_to_read(kernel)
    kernel.ask(fuse.INTERRUPT, 0, struct.pack("<Q", unique))
    assert select.select([kernel.replies], [], [], 0)[0], "not a second later"
    assert kernel.later() == (errno.EINTR, b"")
    assert not source.asked
    assert not kernel.session._interrupted


def test_who_was_interrupted_is_forgotten_with_the_answer(kernel: Kernel, source: Waiting) -> None:
    unique = begin_to_read(kernel)
    kernel.ask(fuse.INTERRUPT, 0, struct.pack("<Q", unique))
    assert kernel.session._interrupted == {unique}
    source.asked.pop(unique)((b"hello",))
    assert kernel.later() == (0, b"hello")
    assert not kernel.session._interrupted
    kernel.ask(fuse.INTERRUPT, 0, struct.pack("<Q", unique))
    assert not kernel.session._interrupted, "it was answered before"


def test_the_loop_alone_lets_go_of_who_waits_for_a_connection(kernel: Kernel, source: Waiting) -> None:
    kernel.pid = 0
    unique = begin_to_read(kernel)
    kernel.session._polled = object()
    kernel.session._interrupted.add(unique)
    kernel.session._tick()
    assert unique in source.asked
    kernel.session._polled = None
    kernel.session._tick()
    assert unique not in source.asked


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
@pytest.mark.parametrize("reply", [b"x" * 16, [b"x" * 16, b"y"]])
def test_that_nobody_wants_a_reply_any_more_is_no_error(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, number: int, reply: object
) -> None:
    def fail(_descriptor: int, _data: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)
    monkeypatch.setattr(os, "writev", fail)
    kernel.session.send(reply)


def test_a_device_that_fails_is_an_error(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int, _data: object) -> int:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OSError, match="broken"):
        kernel.session.send(b"x" * 16)


def test_terminals_are_no_matter_of_ours(kernel: Kernel) -> None:
    assert kernel.ask(fuse.IOCTL, ROOT, bytes(32)) == (errno.ENOTTY, b"")


def test_listings_are_remembered_but_not_many_and_say_much_but_not_for_ever(plug: Plug) -> None:
    leaf = Directory.of([(Name(b"to"), SymlinkNode(b"x"))])
    root = Directory.of([(Name(b"%03d" % number), DirectoryNode(leaf.digest, leaf.size)) for number in range(100)])
    store = empty_store()
    store.directories.put([leaf, root])
    tree = Tree(root.digest)
    kernel = plug(tree, LocalSource(store))
    tree.adopt(ROOT, root)

    def told(node: int) -> int:
        """The node that the listing says of the symlink."""
        _, payload = kernel.ask(fuse.READDIRPLUS, node, struct.pack("<QQI", 0, 2, 4096) + bytes(20))
        number: int = struct.unpack_from("<Q", payload)[0]
        return number

    numbers = list(tree.names[ROOT].values())
    assert told(numbers[0]) == 0
    kernel.lookup(numbers[0], b"to")
    said = [told(number) != 0 for number in numbers[1:]]
    assert said == [True] * 64 + [False] * 35
    listings = kernel.session._handlers[fuse.READDIRPLUS].__self__._listings
    assert len(listings) == 8


def test_the_kernel_is_to_forget_the_listing_of_a_store_since_paths_may_come(plug: Plug) -> None:
    store = empty_store()
    fill(store)
    kernel = plug(Tree(None), LocalSource(store), listing=True)
    offset, room = 0, 65536
    while True:
        error, payload = kernel.ask(fuse.READDIR, ROOT, struct.pack("<QQI", 0, offset, room) + bytes(20))
        assert error == 0
        if not payload:
            break
        assert not select.select([kernel.replies], [], [], 0)[0], "not before the end"
        offset = 2 + len(kernel.tree.names[ROOT])
    length, code, unique, node, at, many = struct.unpack("<IiQQqq", kernel.replies.recv(100))
    assert (length, code, unique) == (40, fuse.NOTIFY_INVAL_INODE, 0)
    assert (node, at, many) == (ROOT, 0, 0)


def test_a_far_end_that_says_nothing_is_an_error_after_the_deadline(plug: Plug) -> None:
    go, near, far = Event(), empty_store(), empty_store()

    class Silent(MemoryBlobService):
        def open(self, digest: Digest) -> None:  # noqa: ARG002
            """See `BlobService`."""
            assert go.wait(20)

    far.blobs = Silent()
    directory = Directory.of([(Name(b"file"), FileNode(Digest(bytes(32)), 5, False))])
    tree = Tree(directory.digest)
    tree.adopt(ROOT, directory)
    kernel = plug(tree, ThreadedSource(near_far(near, far, "far:"), near, 0.0, lambda: 0.0))
    begin_to_read(kernel)
    kernel.session._tick()
    assert kernel.later() == (errno.EIO, b"")
    assert json.loads(kernel.session.stats())["lastError"] == "nothing came from far for too long"
    go.set()


def test_a_housekeeper_comes_again_while_there_is_more_and_is_gone_after_close() -> None:
    ticks = [True, True, False]
    done = Event()
    under_way = Event()
    over: list[bool] = []

    def tick() -> bool:
        more = ticks.pop(0)
        if not more:
            under_way.set()
            done.wait(0.05)
            over.append(True)
        return more

    keeper = Housekeeper(tick, period=0.001)
    keeper.wake()
    assert under_way.wait(20)
    keeper.close()
    assert over, "the last tick is over"
    assert not ticks
    keeper.wake()
    assert not keeper.awake
