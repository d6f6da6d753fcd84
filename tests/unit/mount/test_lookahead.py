"""What the loop prepares while nobody asks, and how it waits."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import Name, Node, SymlinkNode
from tvix.mount.engines import fuse_protocol as fuse
from tvix.mount.engines.fuse_lookahead import SIBLINGS, LookAhead
from tvix.mount.engines.fuse_replies import LEAN, Replies
from tvix.mount.engines.fuse_waiting import RequestReader
from tvix.mount.local_source import LocalSource
from tvix.mount.node_table import ROOT
from tvix.mount.tree import Tree
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.store import Store

ROOM = 32768
WIDTH = 40


def forest() -> tuple[Tree, LocalSource]:
    """A root with 40 directories, each with a symlink and a directory in it."""
    blobs, directories = MemoryBlobService(), MemoryDirectoryService()
    leaf = Directory.of([(Name(b"leaf"), SymlinkNode(b"x"))])
    made = [leaf]
    entries: list[tuple[Name, Node]] = []
    for number in range(WIDTH):
        child = Directory.of([(Name(b"to"), SymlinkNode(b"%d" % number)), (Name(b"below"), leaf.node)])
        made.append(child)
        entries.append((Name(b"child-%02d" % number), child.node))
    root = Directory.of(entries)
    directories.put([*made, root])
    tree = Tree(root.digest)
    tree.adopt(ROOT, root)
    return tree, LocalSource(Store(blobs, directories, MemoryPathInfoService(blobs, directories)))


def run_dry(ahead: LookAhead) -> None:
    while ahead.step():
        pass


def test_nothing_is_prepared_before_something_is_listed() -> None:
    tree, source = forest()
    ahead = LookAhead(tree, source, Replies(tree, 0, 0))
    assert not ahead.step()
    assert list(tree.names) == [ROOT]


def test_the_next_siblings_and_the_first_child_are_prepared_and_no_more() -> None:
    tree, source = forest()
    ahead = LookAhead(tree, source, Replies(tree, 0, 0))
    listed = tree.names[ROOT][b"child-03"]
    directory = source.near_directory(tree.table.record(listed)[4])  # type: ignore[arg-type]
    assert directory is not None
    below = tree.adopt(listed, directory)[b"below"]
    ahead.listed(listed, ROOM)
    run_dry(ahead)
    expected = {ROOT, listed, below, *(tree.names[ROOT][b"child-%02d" % number] for number in range(4, 4 + SIBLINGS))}
    assert set(tree.names) == expected


def test_a_prepared_listing_is_what_would_have_been_answered_and_is_handed_out_once() -> None:
    tree, source = forest()
    replies = Replies(tree, 0, 0)
    ahead = LookAhead(tree, source, replies)
    ahead.listed(ROOT, ROOM)
    run_dry(ahead)
    child = tree.names[ROOT][b"child-00"]
    prepared = ahead.take(child, ROOM)
    assert prepared is not None
    assert prepared.reply == replies.listing(0, child, list(tree.names[child].items()), 0, ROOM, LEAN)
    assert ahead.take(child, ROOM) is None


def test_a_prepared_listing_never_outgrows_the_room_there_is() -> None:
    tree, source = forest()
    ahead = LookAhead(tree, source, Replies(tree, 0, 0))
    ahead.listed(ROOT, ROOM)
    run_dry(ahead)
    assert ahead.take(tree.names[ROOT][b"child-00"], 10) is None


def test_what_is_prepared_and_never_asked_for_goes() -> None:
    tree, source = forest()
    ahead = LookAhead(tree, source, Replies(tree, 0, 0))
    for number in list(tree.names[ROOT].values()):
        ahead.listed(number, ROOM)
        run_dry(ahead)
    for number in list(tree.names):
        ahead.listed(number, ROOM)
        run_dry(ahead)
    assert len(tree.names) > 65
    assert len(ahead._prepared) <= 64
    assert len(ahead._parents) <= 8


def test_a_walk_sees_the_same_with_and_without_preparation(plug: Callable[..., Any]) -> None:
    def walk(idle: bool) -> dict[int, bytes]:
        tree, source = forest()
        kernel = plug(tree, source)
        seen = {}
        for number in (ROOT, *tree.names[ROOT].values()):
            answer = kernel.ask(fuse.READDIRPLUS, number, struct.pack("<QQIIQII", 0, 0, ROOM, 0, 0, 0, 0))
            assert answer is not None
            assert answer[0] == 0
            seen[number] = strip_numbers(answer[1])
            while idle and kernel.session._idle():
                pass
        return seen

    assert walk(idle=True) == walk(idle=False)


def strip_numbers(listing: bytes) -> bytes:
    """Names, types and offsets: the numbers depend on who was opened up first."""
    out = []
    while listing:
        _, offset, length, kind = struct.unpack_from("<QQII", listing, 128)
        out.append(b"%d %d %s" % (offset, kind, listing[152 : 152 + length]))
        listing = listing[152 + length + -length % 8 :]
    return b"\n".join(out)


def test_the_reader_works_ahead_while_it_is_awake_and_then_sleeps_until_there_is_something() -> None:
    ours, theirs = os.pipe()
    calls: list[int] = []

    def idle() -> bool:
        calls.append(1)
        if len(calls) == 3:
            os.write(theirs, b"request")
        return True

    buffer = bytearray(64)
    reader = RequestReader(ours, buffer, idle, awake=30.0)
    assert reader.read() == 7
    assert buffer[:7] == b"request"
    assert len(calls) == 3
    os.close(theirs)
    assert reader.read() == 0
    os.close(ours)


def test_without_a_second_processor_the_reader_blocks_at_once() -> None:
    ours, theirs = os.pipe()
    reader = RequestReader(ours, bytearray(64), lambda: 1 / 0 > 0, awake=0.0)
    assert os.get_blocking(ours)
    os.write(theirs, b"x")
    assert reader.read() == 1
    os.close(theirs)
    os.close(ours)
