"""Blobs that come in pieces: what may be read when, what is asked for, and what happens when a list or the whole is wrong."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tvix.castore.blobs.interface import Chunk, CorruptBlob
from tvix.castore.digests import Digest, digest_of
from tvix.castore.transfer.closure_message import ClosurePart
from tvix.castore.transfer.hot_set import Key
from tvix.castore.transfer.large_blob import PIECE_BYTES, WINDOW_BYTES
from tvix.castore.transfer.messages import CLOSURE, FOREGROUND
from tvix.testing.fetch_ends import CHUNK_BYTES, Ends, memory, noise, text

Make = Callable[..., Ends]
SIZE = 50 * CHUNK_BYTES + 123
CONTENTS = noise(SIZE)


def told(ends: Ends, contents: bytes = CONTENTS) -> tuple[Digest, list[Chunk]]:
    """A large blob whose list the scheduler has heard."""
    digest, chunks = ends.chunked(contents)
    ends.scheduler._lists.learn(ClosurePart((), ends.server.lists))
    return digest, chunks


def test_with_lists_believed_only_the_chunks_of_a_range_are_asked(ends: Ends) -> None:
    digest, chunks = told(ends)
    assert ends.scheduler.read(digest, SIZE, 3 * CHUNK_BYTES - 10, 20, ends.done) is None
    ends.pump()
    assert text(ends.got[0]) == CONTENTS[3 * CHUNK_BYTES - 10 :][:20]
    assert ends.server.seen == [Key(chunks[2].digest), Key(chunks[3].digest)]
    assert ends.near.blobs.missing([chunks[2].digest, digest]) == {digest}
    assert ends.scheduler.used == ends.server.seen


def test_with_bytes_alone_nothing_is_read_before_the_whole_is_proven(make: Make) -> None:
    ends = make(trusts_lists=False)
    digest, chunks = told(ends)
    ends.scheduler.read(digest, SIZE, 0, 10, ends.done)
    ends.ask()
    while ends.server.wanted:
        assert ends.got == []
        ends.scheduler.receive(ends.server.answer(ends.server.wanted[:5]))
        ends.ask()
    assert [text(result) for result in ends.got] == [CONTENTS[:10]]
    assert ends.server.seen == [Key(chunk.digest) for chunk in chunks]
    assert text(ends.scheduler.read(digest, SIZE, SIZE - 5, 50, ends.done)) == CONTENTS[-5:]


@pytest.mark.parametrize("listed", [True, False])
def test_a_large_blob_is_asked_no_further_than_a_window_ahead_of_its_hash(make: Make, listed: bool) -> None:
    ends = make(trusts_lists=False)
    contents = noise(3 * WINDOW_BYTES)
    digest, _chunks = told(ends, contents) if listed else ends.chunked(contents)
    ends.scheduler.read(digest, len(contents), 0, 10, ends.done)
    arrived = 0
    while not ends.got:
        ends.ask()
        assert (
            arrived + sum(len(ends.server.find(one.key) or b"") for one in ends.server.wanted)
            <= arrived + WINDOW_BYTES + PIECE_BYTES
        )
        frame = ends.server.answer(ends.server.wanted[:1])
        ends.scheduler.receive(frame)
        arrived = ends.server.sent_bytes
        ends.scheduler.settle()
    assert text(ends.got[0]) == contents[:10]
    assert len(ends.server.seen) == len(set(ends.server.seen))
    assert ends.server.sent_bytes == len(contents)


@pytest.mark.parametrize("trusts_lists", [True, False])
def test_pieces_may_come_in_any_order(make: Make, trusts_lists: bool) -> None:
    ends = make(trusts_lists=trusts_lists)
    digest, chunks = told(ends)
    order = Random(7)
    for offset in range(0, SIZE, 700_000):
        ends.scheduler.read(digest, SIZE, offset, 700_000, ends.done)
    ends.ask()
    while ends.server.wanted:
        ends.scheduler.receive(ends.server.some(order))
        ends.ask()
    while ends.scheduler.settle():
        pass
    assert sorted(text(result) for result in ends.got) == sorted(
        CONTENTS[offset : offset + 700_000] for offset in range(0, SIZE, 700_000)
    )
    assert sorted(ends.server.seen) == sorted(Key(chunk.digest) for chunk in chunks)


def test_a_blob_without_a_list_is_asked_in_ranges_and_proven(ends: Ends) -> None:
    digest, _chunks = ends.chunked(CONTENTS)
    ends.scheduler.read(digest, SIZE, SIZE - 10, 10, ends.done)
    ends.pump()
    assert text(ends.got[0]) == CONTENTS[-10:]
    assert [key.offset for key in ends.server.seen] == list(range(0, SIZE, PIECE_BYTES))


@pytest.mark.parametrize("listed", [True, False])
def test_what_a_small_near_end_forgets_is_fetched_again_by_piece_and_stays_verified(make: Make, listed: bool) -> None:
    contents = noise(20 << 20)
    ends = make(trusts_lists=False, near=memory(1 << 20))
    digest, _chunks = told(ends, contents) if listed else ends.chunked(contents)
    ends.scheduler.read(digest, len(contents), 0, 10, ends.done)
    ends.pump()
    before = len(ends.server.seen)
    ends.scheduler.read(digest, len(contents), 5_000_000, 10, ends.done)
    ends.ask()
    assert len(ends.server.wanted) == 1
    item = ends.server.wanted[0]
    ends.scheduler.receive(ends.server.answer([item], [bytes(len(ends.server.find(item.key) or b""))]))
    assert isinstance(ends.got[1], CorruptBlob)
    ends.scheduler.read(digest, len(contents), 5_000_000, 10, ends.done)
    ends.pump()
    assert text(ends.got[2]) == contents[5_000_000:5_000_010]
    assert text(ends.got[0]) == contents[:10]
    assert len(ends.server.seen) == before + 2


@pytest.mark.parametrize("trusts_lists", [True, False])
def test_a_wrong_whole_is_an_error_and_its_list_is_forgotten(make: Make, trusts_lists: bool) -> None:
    ends = make(trusts_lists=trusts_lists)
    other = noise(SIZE, seed=2)
    digest = digest_of(CONTENTS)
    _, chunks = ends.chunked(other)
    ends.server.contents[digest] = CONTENTS
    ends.scheduler._lists.learn(ClosurePart((), {digest: chunks}))
    ends.scheduler.prefetch([(digest, SIZE)], CLOSURE)
    ends.ask()
    while len(ends.server.wanted) > 1:
        ends.scheduler.receive(ends.server.answer(ends.server.wanted[:1]))
    ends.scheduler.read(digest, SIZE, SIZE - 5, 5, ends.done)
    ends.scheduler.receive(ends.server.answer(ends.server.wanted[:1]))
    assert [type(result) for result in ends.got] == [CorruptBlob]
    assert ends.near.blobs.missing([digest]) == {digest}
    ends.scheduler.read(digest, SIZE, SIZE - 5, 5, ends.done)
    ends.pump()
    assert text(ends.got[1]) == CONTENTS[-5:]


def test_a_list_of_another_size_is_not_used(ends: Ends) -> None:
    digest, chunks = ends.chunked(CONTENTS)
    ends.scheduler._lists.learn(ClosurePart((), {digest: chunks[:-1]}))
    ends.scheduler.read(digest, SIZE, 0, 5, ends.done)
    ends.pump()
    assert text(ends.got[0]) == CONTENTS[:5]
    assert ends.server.seen[0] == Key(digest, 0, PIECE_BYTES)


def test_a_chunk_that_the_server_lost_is_found_in_its_blob(ends: Ends) -> None:
    digest, chunks = told(ends)
    del ends.server.contents[chunks[3].digest]
    ends.scheduler.read(digest, SIZE, 3 * CHUNK_BYTES, 10, ends.done)
    ends.pump()
    assert text(ends.got[0]) == CONTENTS[3 * CHUNK_BYTES :][:10]
    assert ends.server.seen == [Key(chunks[3].digest), Key(digest, 3 * CHUNK_BYTES, CHUNK_BYTES)]


def test_a_blob_of_equal_chunks_needs_one(make: Make) -> None:
    for trusts_lists in (True, False):
        ends = make(trusts_lists=trusts_lists)
        digest, chunks = told(ends, bytes(50 * CHUNK_BYTES))
        ends.scheduler.read(digest, 50 * CHUNK_BYTES, 10 * CHUNK_BYTES, 3 * CHUNK_BYTES, ends.done)
        ends.pump()
        assert text(ends.got[0]) == bytes(3 * CHUNK_BYTES)
        assert ends.server.seen == [Key(chunks[0].digest)]


@pytest.mark.parametrize("trusts_lists", [True, False])
def test_it_goes_on_inside_a_blob_on_a_new_connection(make: Make, trusts_lists: bool) -> None:
    ends = make(trusts_lists=trusts_lists)
    digest, _chunks = told(ends)
    ends.scheduler.read(digest, SIZE, 0, SIZE, ends.done)
    ends.ask()
    for _ in range(20):
        ends.scheduler.receive(ends.server.answer(ends.server.wanted[:1]))
    before = ends.server.sent_bytes
    ends.scheduler.lost("cut")
    ends.server.restart()
    ends.scheduler.connected()
    ends.pump()
    assert text(ends.got[0]) == CONTENTS
    assert ends.server.sent_bytes == SIZE
    assert before == 20 * CHUNK_BYTES


def test_chunks_that_are_near_already_are_not_asked(make: Make) -> None:
    ends = make(trusts_lists=False)
    digest, chunks = told(ends)
    for number in range(0, 51, 2):
        ends.near.blobs.put(CONTENTS[number * CHUNK_BYTES :][:CHUNK_BYTES])
    ends.scheduler.read(digest, SIZE, 0, 5, ends.done)
    ends.pump()
    assert text(ends.got[0]) == CONTENTS[:5]
    assert ends.server.seen == [Key(chunks[number].digest) for number in range(1, 51, 2)]


def test_a_blob_all_of_whose_chunks_are_near_is_proven_without_asking(make: Make) -> None:
    ends = make(trusts_lists=False)
    contents = noise(2 * WINDOW_BYTES)
    digest, chunks = told(ends, contents)
    for number in range(len(chunks)):
        ends.near.blobs.put(contents[number * CHUNK_BYTES :][:CHUNK_BYTES])
    here = ends.scheduler.read(digest, len(contents), 0, 5, ends.done)
    ends.pump()
    assert text(here or ends.got[0]) == contents[:5]
    assert ends.server.seen == []


def test_a_read_that_proves_its_blob_by_itself_is_answered_without_a_message_from_the_server(make: Make) -> None:
    """All chunks are near, so nothing will come: whoever drives the scheduler must be told that there is something to settle."""
    ends = make(trusts_lists=False)
    contents = noise(5 * CHUNK_BYTES)
    digest, chunks = told(ends, contents)
    for number in range(len(chunks)):
        ends.near.blobs.put(contents[number * CHUNK_BYTES :][:CHUNK_BYTES])
    assert ends.scheduler.read(digest, len(contents), 0, 5, ends.done) is None
    while ends.scheduler.unsettled:
        ends.scheduler.settle()
    assert text(ends.got[0]) == contents[:5]


def test_a_blob_that_nobody_waits_for_any_more_is_not_fetched_to_its_end(make: Make) -> None:
    ends = make(trusts_lists=False)
    contents = noise(2 * WINDOW_BYTES)
    digest, _chunks = told(ends, contents)
    ends.scheduler.read(digest, len(contents), 0, 5, ends.done)
    ends.ask()
    ends.scheduler.leave(ends.done)
    ends.pump()
    assert ends.server.sent_bytes <= WINDOW_BYTES + CHUNK_BYTES
    ends.scheduler.read(digest, len(contents), 0, 5, ends.done)
    ends.pump()
    assert text(ends.got[0]) == contents[:5]
    assert ends.server.sent_bytes == len(contents)


def test_somebody_who_waits_promotes_what_is_left_of_a_blob(make: Make) -> None:
    ends = make(trusts_lists=False)
    digest, _chunks = told(ends)
    ends.scheduler.prefetch([(digest, SIZE)], CLOSURE)
    ends.ask()
    ends.scheduler.read(digest, SIZE, 0, 5, ends.done)
    ends.ask()
    assert sorted(ends.server.promoted) == sorted(one.id for one in ends.server.wanted)
    assert {one.priority for one in ends.server.wanted} == {CLOSURE}
    assert FOREGROUND not in {ask.priority for ask in ends.server.asks if ask.ids}
