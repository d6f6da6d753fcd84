"""Closures and hot sets: what is asked in one go, what is believed of the answer, and how wrong ones end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from tvix.castore.addresses import Castore
from tvix.castore.blobs.interface import CorruptBlob, StoredBlob
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.interface import CorruptDirectory, IncompleteClosure, WrongDirectorySize
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name
from tvix.castore.pack.format import DiskFull
from tvix.castore.transfer import large_blob
from tvix.castore.transfer.closure_flight import CLOSURE_BYTES_MAX, ClosureTooLarge
from tvix.castore.transfer.closure_message import ClosurePart
from tvix.castore.transfer.hot_set import Key, encode_keys
from tvix.castore.transfer.large_blob import PIECE_BYTES
from tvix.castore.transfer.messages import ANNOUNCED, ANNOUNCEMENT, DIRECTORIES, Frame, encode_frame
from tvix.castore.transfer.receiving import UNASKED_BYTES_MAX, ServerMisbehaves
from tvix.castore.tree import DirectoryNotFound
from tvix.testing.fetch_ends import CHUNK_BYTES, Ends, noise, text
from tvix.testing.fetch_server import Wanted

LARGE = noise(3 * PIECE_BYTES + 123)


def tree(ends: Ends, depth: int = 3) -> tuple[Digest, list[Directory]]:
    """A tree of the server's: its root, and its directories, parents first."""
    directory = Directory.of([(Name(b"file"), FileNode(ends.small(b"hello")[0], 5, False))])
    told = [directory]
    for _ in range(depth - 1):
        directory = Directory.of([(Name(b"below"), directory.node)])
        told.append(directory)
    ends.server.store.directories.put(told)
    return directory.digest, told[::-1]


def closure(ends: Ends, root: Digest, directories: list[Directory]) -> None:
    """The server's answer, of these directories."""
    ends.ask()
    ends.server.openings.clear()
    for frame in ends.server.closure_frames(root, [directory.encoded for directory in directories]):
        ends.scheduler.receive(frame)


def test_a_root_is_opened_in_one_message_and_is_near_when_it_is_done(ends: Ends) -> None:
    root, told = tree(ends)
    assert not ends.scheduler.open_root(root, push=True, profile="boot", done=ends.done)
    assert ends.ask() == 1
    ask = ends.server.asks[0]
    assert (ask.root, ask.push, ask.closure, ask.profile) == (root, True, True, "boot")
    first, *rest = ends.server.open(parts=3)
    for frame in (first, *rest[:-1]):
        ends.scheduler.receive(frame)
        assert ends.got == []
    ends.scheduler.receive(rest[-1])
    assert ends.got == [told[0]]
    assert ends.near.directories.missing([one.digest for one in told]) == set()
    assert ends.scheduler.in_flight() == 0
    assert ends.scheduler.open_root(root, push=False, done=ends.done)


def test_directories_are_handed_out_as_they_come(ends: Ends) -> None:
    root, told = tree(ends)
    assert ends.scheduler.directory(root, ends.done) is None
    ends.ask()
    frames = ends.server.open(parts=3)
    ends.scheduler.receive(frames[0])
    assert ends.got == [told[0]]
    assert ends.scheduler.directory(root, ends.done) == told[0]
    assert ends.scheduler.directory(told[1].digest, ends.done) is None
    assert ends.ask() == 0
    ends.scheduler.receive(frames[1])
    assert ends.got == told[:2]


def test_a_root_that_is_not_there_is_not_found(ends: Ends) -> None:
    root = digest_of(b"nothing")
    ends.scheduler.open_root(root, push=False, done=ends.done)
    ends.scheduler.directory(root, ends.done)
    closure(ends, root, [])
    assert [type(result) for result in ends.got] == [DirectoryNotFound] * 2


def test_what_is_incomplete_unasked_or_of_another_size_is_refused(ends: Ends) -> None:
    root, told = tree(ends)
    stranger = Directory.of([(Name(b"x"), FileNode(digest_of(b"x"), 1, False))])
    liar = Directory.of([(Name(b"below"), DirectoryNode(told[1].digest, 77))])
    for asked, directories, kind in (
        (root, told[:-1], IncompleteClosure),
        (root, [told[0], stranger, *told[1:]], CorruptDirectory),
        (root, told[1:], CorruptDirectory),
        (liar.digest, [liar, *told[1:]], WrongDirectorySize),
    ):
        ends.got.clear()
        ends.scheduler.open_root(asked, push=False, done=ends.done)
        closure(ends, asked, directories)
        assert [type(result) for result in ends.got] == [kind]
        assert ends.near.directories.missing([asked]) == {asked}
        assert ends.scheduler.in_flight() == 0


def test_what_is_not_canonical_is_refused(ends: Ends) -> None:
    encoded = b"\x12\x00"
    root = digest_of(encoded)
    ends.scheduler.open_root(root, push=False, done=ends.done)
    ends.ask()
    for frame in ends.server.closure_frames(root, [encoded]):
        ends.scheduler.receive(frame)
    assert [type(result) for result in ends.got] == [CorruptDirectory]


def test_ten_thousand_directories_in_each_other(ends: Ends) -> None:
    root, told = tree(ends, depth=10_000)
    ends.scheduler.open_root(root, push=False, done=ends.done)
    closure(ends, root, told)
    assert ends.got == [told[0]]
    assert ends.near.directories.missing([told[-1].digest]) == set()


def test_a_closure_without_end_is_refused(ends: Ends) -> None:
    root, told = tree(ends)
    ends.scheduler.open_root(root, push=False, done=ends.done)
    ends.ask()
    flight = ends.scheduler._closures[root]
    flight._bytes = CLOSURE_BYTES_MAX - len(told[0].encoded) + 1
    closure(ends, root, told)
    assert [type(result) for result in ends.got] == [ClosureTooLarge]


def test_a_closure_that_is_said_to_be_a_gigabyte_is_refused_before_it_is_unpacked(ends: Ends) -> None:
    root, _told = tree(ends)
    ends.scheduler.open_root(root, push=False, done=ends.done)
    ends.ask()
    with pytest.raises(ServerMisbehaves, match="are the most"):
        ends.scheduler.receive(encode_frame(Frame(payload=b"x", kind=DIRECTORIES, root=root, codec=1, raw_size=1 << 30)))
    assert [type(result) for result in ends.got] == [ServerMisbehaves]


def test_a_closure_goes_on_on_a_new_connection_and_the_hot_set_is_not_pushed_twice(ends: Ends) -> None:
    root, told = tree(ends)
    (hot,) = ends.small(b"hot")
    ends.server.hot = [Key(hot)]
    ends.scheduler.open_root(root, push=True, done=ends.done)
    ends.ask()
    announcement, first, *_rest = ends.server.open(parts=3)
    ends.scheduler.receive(announcement)
    ends.scheduler.receive(first)
    ends.scheduler.lost("cut")
    ends.server.restart()
    ends.scheduler.connected()
    ends.ask()
    (ask,) = ends.server.openings
    assert (ask.push, ask.closure) == (False, True)
    assert [(one.key, one.priority) for one in ends.server.wanted] == [(Key(hot), 5)]
    ends.pump()
    assert ends.got == [told[0]]
    assert ends.near.blobs.missing([hot]) == set()


def test_announced_items_are_promoted_by_the_servers_names_and_not_asked(ends: Ends) -> None:
    root, _told = tree(ends)
    hot, near = ends.small(b"hot", b"near")
    ends.near.blobs.put(b"near")
    ends.server.hot = [Key(hot), Key(near), Key(digest_of(b"gone")), Key(hot, 1, 1)]
    ends.scheduler.open_root(root, push=True, done=ends.done)
    ends.ask()
    for frame in ends.server.open():
        ends.scheduler.receive(frame)
    ends.scheduler.read(hot, 3, 0, 3, ends.done)
    ends.ask()
    assert ends.server.promoted == [ANNOUNCED]
    assert ends.server.seen == []
    while ends.server.wanted:
        ends.scheduler.receive(ends.server.answer(ends.server.wanted[:1]))
    assert text(ends.got[1]) == b"hot"
    assert ends.scheduler.in_flight() == 0


def announced_ranges(ends: Ends, step: int = PIECE_BYTES) -> Digest:
    """A large blob without a list whose ranges a hot set has, which is announced."""
    root, _told = tree(ends)
    digest, _chunks = ends.chunked(LARGE)
    ends.server.lists = {}
    ends.server.hot = [Key(digest, start, min(step, len(LARGE) - start)) for start in range(0, len(LARGE), step)]
    ends.scheduler.open_root(root, push=True, done=ends.got.append)
    ends.ask()
    for frame in ends.server.open():
        ends.scheduler.receive(frame)
    ends.got.clear()
    return digest


@pytest.mark.parametrize("early", [True, False])
def test_announced_ranges_of_a_blob_without_a_list_are_used_and_not_asked_for(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    digest = announced_ranges(ends)
    if early:
        ends.pump()
    monkeypatch.setattr(large_blob, "WINDOW_BYTES", 2 * PIECE_BYTES)
    ends.scheduler.read(digest, len(LARGE), len(LARGE) - 10, 10, ends.done)
    while ends.server.wanted:  # the last first: nobody waits for it yet
        ends.scheduler.receive(ends.server.answer(ends.server.wanted[-1:]))
    ends.pump()
    assert text(ends.got[0]) == LARGE[-10:]
    assert ends.server.seen == []
    assert ends.scheduler.counts.wasted_bytes == 0


def test_announced_ranges_that_are_no_pieces_do_no_harm(ends: Ends) -> None:
    digest = announced_ranges(ends, PIECE_BYTES - 1)
    ends.pump()
    ends.scheduler.read(digest, len(LARGE), 0, 10, ends.done)
    ends.pump()
    assert text(ends.got[0]) == LARGE[:10]


def test_an_announced_range_that_lies_is_found_out_and_forgotten(ends: Ends) -> None:
    digest = announced_ranges(ends)
    ends.scheduler.receive(ends.server.answer(ends.server.wanted[:1], [bytes(PIECE_BYTES)]))
    for _ in range(2):
        ends.scheduler.read(digest, len(LARGE), 0, 10, ends.done)
        ends.pump()
    assert isinstance(ends.got[0], CorruptBlob)
    assert text(ends.got[1]) == LARGE[:10]


def test_an_announced_range_is_held_to_the_chunk_that_somebody_looks_for_in_it(ends: Ends) -> None:
    digest = announced_ranges(ends, CHUNK_BYTES)
    _digest, chunks = ends.chunked(LARGE)
    ends.scheduler._lists.learn(ClosurePart((), ends.server.lists))
    del ends.server.contents[chunks[0].digest]
    ends.scheduler.read(digest, len(LARGE), 0, 10, ends.done)
    ends.ask()
    announced, *_others, chunk = ends.server.wanted
    assert (announced.key, chunk.key) == (Key(digest, 0, CHUNK_BYTES), Key(chunks[0].digest))
    ends.scheduler.receive(ends.server.answer([chunk]))
    ends.scheduler.receive(ends.server.answer([announced], [bytes(CHUNK_BYTES)]))
    assert isinstance(ends.got[0], CorruptBlob)


def test_what_was_asked_before_it_was_announced_may_come_twice(ends: Ends) -> None:
    root, _told = tree(ends)
    (hot,) = ends.small(b"hot")
    ends.server.hot = [Key(hot)]
    ends.scheduler.open_root(root, push=True, done=ends.done)
    ends.scheduler.read(hot, 3, 0, 3, ends.done)
    ends.ask()
    for frame in ends.server.open():
        ends.scheduler.receive(frame)
    assert len(ends.server.wanted) == 2
    for one in ends.server.wanted[:]:
        ends.scheduler.receive(ends.server.answer([one]))
    assert text(ends.got[1]) == b"hot"


def test_of_what_nobody_asked_for_a_bounded_part_is_kept(ends: Ends) -> None:
    root, _told = tree(ends)
    contents = [noise(1 << 20, seed) for seed in range(UNASKED_BYTES_MAX // (1 << 20) + 3)]
    ends.server.contents = {digest_of(one): one for one in contents}
    ends.server.hot = [Key(digest) for digest in ends.server.contents]
    ends.scheduler.open_root(root, push=True, done=ends.done)
    ends.pump()
    assert len(ends.near.blobs.missing(ends.server.contents)) == 3


def test_a_hot_set_that_lies_is_dropped(ends: Ends) -> None:
    root, _told = tree(ends)
    (hot,) = ends.small(b"hot")
    ends.server.hot = [Key(hot)]
    ends.scheduler.open_root(root, push=True, done=ends.done)
    ends.ask()
    for frame in ends.server.open():
        ends.scheduler.receive(frame)
    ends.scheduler.receive(ends.server.answer([Wanted(ANNOUNCED, Key(hot), 5)], [b"lie"]))
    assert ends.near.blobs.missing([hot]) == {hot}
    ends.scheduler.read(hot, 3, 0, 3, ends.done)
    ends.pump()
    assert text(ends.got[1]) == b"hot"


def test_an_id_that_is_announced_twice_breaks_the_protocol(ends: Ends) -> None:
    roots = [tree(ends, depth)[0] for depth in (2, 3)]
    (hot,) = ends.small(b"hot")
    ends.server.hot = [Key(hot)]
    for root in roots:
        ends.scheduler.open_root(root, push=True, done=ends.done)
    ends.ask()
    announcement = ends.server.open()[0]
    ends.scheduler.receive(announcement)
    with pytest.raises(ServerMisbehaves, match="wasn't asked for"):
        ends.scheduler.receive(announcement)
    assert len(ends.got) == 2
    ends.scheduler.open_root(roots[0], push=True, done=ends.done)
    ends.scheduler.open_root(roots[1], push=True, done=ends.done)
    ends.ask()
    frames = [ends.server.open()[0], ends.server.open()[0]]
    ends.scheduler.receive(frames[0])
    with pytest.raises(ServerMisbehaves, match="announced twice"):
        ends.scheduler.receive(frames[1])


def test_no_more_roots_are_asked_at_a_time_than_a_server_takes(ends: Ends) -> None:
    roots = [tree(ends, depth)[0] for depth in range(1, 31)]
    for root in roots:
        ends.scheduler.directory(root, ends.done)
    most = 0
    while ends.scheduler.waiting():
        ends.ask()
        most = max(most, len(ends.server.openings))
        for frame in ends.server.open():
            ends.scheduler.receive(frame)
    assert len(ends.got) == 30
    assert 1 < most <= 16


def test_an_announcement_is_no_closure(ends: Ends) -> None:
    root, told = tree(ends)
    ends.scheduler.open_root(root, push=True, done=ends.done)
    closure(ends, root, told)
    assert ends.got == [told[0]]
    assert ends.scheduler.in_flight() == 1
    ends.scheduler.receive(encode_frame(Frame(kind=ANNOUNCEMENT, root=root)))
    assert ends.scheduler.in_flight() == 0


class _Full(MemoryDirectoryService):
    """A disk without room."""

    def put(self, directories: Iterable[Directory]) -> Digest:  # noqa: ARG002
        raise DiskFull(path="/near", reason="no space left")


class _FullBlobs(MemoryBlobService):
    """Likewise."""

    def put_stored(self, blobs: Iterable[tuple[Digest, StoredBlob]]) -> None:  # noqa: ARG002
        raise DiskFull(path="/near", reason="no space left")


def test_a_near_end_that_is_full_takes_nothing_from_those_who_read(make: Callable[..., Ends]) -> None:
    ends = make(near=Castore(_FullBlobs(), _Full()))
    root, told = tree(ends)
    ends.scheduler.open_root(root, push=False, done=ends.done)
    ends.pump()
    assert ends.got == [told[0]]
    assert ends.scheduler.directory(told[-1].digest, ends.done) == told[-1]
    (hello,) = ends.small(b"hello")
    ends.scheduler.read(hello, 5, 0, 5, ends.done)
    ends.pump()
    assert text(ends.got[1]) == b"hello"
    contents = noise(3 << 20)
    digest, _chunks = ends.chunked(contents)
    ends.scheduler.read(digest, len(contents), 7, 2 << 20, ends.done)
    ends.pump()
    assert text(ends.got[2]) == contents[7 : 7 + (2 << 20)]
    assert isinstance(ends.scheduler.near.error, DiskFull)


def test_a_root_comes_by_its_path_before_anybody_knows_its_name(ends: Ends) -> None:
    root, told = tree(ends)
    (hot,) = ends.small(b"hot")
    ends.scheduler.open_path(b"\1" * 20, push=True, profile="boot")
    assert not ends.scheduler.opening(), "it wasn't asked yet"
    assert ends.ask() == 1
    ask = ends.server.asks[0]
    assert (ask.path, ask.root, ask.push, ask.closure, ask.profile) == (b"\1" * 20, b"", True, True, "boot")
    assert ends.scheduler.opening()
    announcement = Frame(kind=ANNOUNCEMENT, root=root, payload=encode_keys([Key(hot)]), first=ANNOUNCED)
    ends.scheduler.receive(encode_frame(announcement))
    assert not ends.scheduler.opening()
    assert not ends.scheduler.open_root(root, push=True, profile="boot", done=ends.done)
    assert ends.ask() == 0, "it is on its way"
    for frame in ends.server.closure_frames(root, [directory.encoded for directory in told]):
        ends.scheduler.receive(frame)
    assert ends.got == [told[0]]
    assert ends.scheduler.open_root(root, push=True, done=ends.done)
    assert ends.ask() == 0, "it is here, and so is its hot set's announcement"
    assert ends.scheduler.announced[root] == encode_keys([Key(hot)])


def test_a_path_that_the_server_does_not_have_is_no_error(ends: Ends) -> None:
    root, _told = tree(ends)
    ends.scheduler.open_path(b"\1" * 20, push=True)
    ends.ask()
    ends.scheduler.receive(encode_frame(Frame(kind=DIRECTORIES)))
    assert not ends.scheduler.opening()
    with pytest.raises(ServerMisbehaves, match="wasn't asked for"):
        ends.scheduler.receive(encode_frame(Frame(kind=ANNOUNCEMENT, root=root)))


def test_one_root_comes_by_a_path(ends: Ends) -> None:
    ends.scheduler.open_path(b"\1" * 20, push=True)
    ends.ask()
    ends.scheduler.receive(encode_frame(Frame(kind=ANNOUNCEMENT, root=digest_of(b"one"))))
    with pytest.raises(ServerMisbehaves, match="wasn't asked for"):
        ends.scheduler.receive(encode_frame(Frame(kind=ANNOUNCEMENT, root=digest_of(b"two"))))


def test_a_path_is_asked_for_on_one_connection_alone(ends: Ends) -> None:
    root, _told = tree(ends)
    ends.scheduler.lost("not there yet")
    ends.scheduler.open_path(b"\1" * 20, push=True)
    ends.scheduler.connected()
    assert ends.ask() == 1
    assert ends.scheduler.opening()
    ends.scheduler.lost("cut")
    ends.server.restart()
    ends.scheduler.connected()
    assert not ends.scheduler.opening()
    assert ends.ask() == 0
    assert not ends.scheduler.open_root(root, push=True, done=ends.done)
    assert ends.ask() == 1


def test_a_path_that_is_answered_late_is_answered_twice(ends: Ends) -> None:
    root, told = tree(ends)
    (hot,) = ends.small(b"hot")
    ends.scheduler.open_path(b"\1" * 20, push=True)
    ends.ask()
    assert not ends.scheduler.open_root(root, push=True, done=ends.done)
    assert ends.ask() == 1, "nobody waited any longer"
    frames = ends.server.closure_frames(root, [directory.encoded for directory in told], 2)
    for first in (ANNOUNCED, ANNOUNCED + 1):
        announcement = Frame(kind=ANNOUNCEMENT, root=root, payload=encode_keys([Key(hot)]), first=first)
        for frame in (encode_frame(announcement), *frames):
            ends.scheduler.receive(frame)
    assert ends.got == [told[0]]
    items = Frame([ANNOUNCED, ANNOUNCED + 1], [3, 3], [3, 3], b"hot" * 2)
    ends.scheduler.receive(encode_frame(items))
    assert ends.scheduler.read(hot, 3, 0, 3, ends.done) == [b"hot"]
    with pytest.raises(ServerMisbehaves, match="wasn't asked for"):  # a third time is too often
        ends.scheduler.receive(frames[-1])


def test_a_path_that_was_not_asked_for_yet_is_not_asked_for_besides_its_root(ends: Ends) -> None:
    root, told = tree(ends)
    ends.scheduler.open_path(b"\1" * 20, push=True)
    assert not ends.scheduler.open_root(root, push=True, done=ends.done)
    ends.ask()
    assert [bytes(ask.root) for ask in ends.server.asks] == [root]
    ends.pump()
    assert ends.got == [told[0]]
