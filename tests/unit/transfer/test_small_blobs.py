"""Blobs that come as one item: what is asked, when, how often, and who is told what."""

from __future__ import annotations

import pytest

from tvix.castore.blobs.contents import BlobNotFound, WrongBlobSize
from tvix.castore.blobs.interface import CorruptBlob, StoreUnavailable
from tvix.castore.transfer.hot_set import Key
from tvix.castore.transfer.messages import AS_STORED, CLOSURE, FOREGROUND, Frame, encode_frame
from tvix.castore.transfer.receiving import LIFE_BYTES, ServerMisbehaves
from tvix.testing.fetch_ends import Ends, text


def test_a_read_that_must_wait_is_answered_once_and_the_next_at_once(ends: Ends) -> None:
    (digest,) = ends.small(b"hello")
    assert ends.scheduler.read(digest, 5, 1, 3, ends.done) is None
    ends.pump()
    assert [text(result) for result in ends.got] == [b"ell"]
    assert text(ends.scheduler.read(digest, 5, 0, 5, ends.done)) == b"hello"
    assert len(ends.got) == 1
    assert ends.scheduler.waiting() == ends.scheduler.in_flight() == 0


def test_the_first_message_says_how_items_may_come(ends: Ends) -> None:
    (digest,) = ends.small(b"hello")
    ends.scheduler.read(digest, 5, 0, 5, ends.done)
    ends.ask()
    assert ends.server.asks[0].codec == AS_STORED
    assert ends.server.asks[0].max_frame > 0


def test_many_needs_are_one_message(ends: Ends) -> None:
    digests = ends.small(*(b"%d" % number for number in range(100)))
    for digest in digests:
        ends.scheduler.read(digest, 2 if digests.index(digest) > 9 else 1, 0, 9, ends.done)
    assert ends.ask() == 1
    assert len(ends.server.wanted) == 100


def test_what_is_on_its_way_is_promoted_and_never_asked_again(ends: Ends) -> None:
    digest, other = ends.small(b"hello", b"other")
    ends.scheduler.prefetch([(digest, 5), (other, 5)], CLOSURE)
    ends.ask()
    ends.scheduler.read(digest, 5, 0, 5, ends.done)
    ends.scheduler.read(digest, 5, 0, 2, ends.done)
    ends.ask()
    promoted = [one.id for one in ends.server.wanted if one.key.digest == digest]
    assert ends.server.promoted == promoted
    ends.pump()
    assert [text(result) for result in ends.got] == [b"hello", b"he"]
    assert sorted(ends.server.seen) == sorted([Key(digest), Key(other)])


def test_what_was_not_sent_yet_becomes_urgent_before_it_is(ends: Ends) -> None:
    (digest,) = ends.small(b"hello")
    ends.scheduler.prefetch([(digest, 5)], CLOSURE)
    ends.scheduler.read(digest, 5, 0, 5, ends.done)
    assert ends.ask() == 1
    assert [one.priority for one in ends.server.wanted] == [FOREGROUND]
    assert ends.server.promoted == []


def test_a_corrupt_item_is_an_error_for_everyone_who_waits_for_it_alone(ends: Ends) -> None:
    digest, other = ends.small(b"hello", b"other")
    ends.scheduler.read(digest, 5, 0, 5, ends.done)
    ends.scheduler.read(digest, 5, 1, 1, ends.done)
    ends.scheduler.read(other, 5, 0, 5, ends.done)
    ends.ask()
    ends.scheduler.receive(ends.server.answer(ends.server.wanted[:], [b"hellO", b"other"]))
    assert [type(result) for result in ends.got[:2]] == [CorruptBlob, CorruptBlob]
    assert "far" in str(ends.got[0])
    assert text(ends.got[2]) == b"other"
    assert ends.near.blobs.missing([digest]) == {digest}


def test_a_size_that_is_not_true_is_an_error(ends: Ends) -> None:
    (digest,) = ends.small(b"hello")
    ends.scheduler.read(digest, 7, 0, 7, ends.done)
    ends.pump()
    assert [type(result) for result in ends.got] == [WrongBlobSize]
    with pytest.raises(WrongBlobSize):
        ends.scheduler.read(digest, 7, 0, 7, ends.done)


def test_what_the_server_lacks_is_not_found(ends: Ends) -> None:
    digest = ends.near.blobs.put(b"elsewhere")
    ends.near.blobs._blobs.clear()  # type: ignore[attr-defined]
    ends.scheduler.read(digest, 9, 0, 9, ends.done)
    ends.pump()
    assert [type(result) for result in ends.got] == [BlobNotFound]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Frame([77], [1], [1], b"x"), "wasn't asked for"),
        (Frame([1, 1], [5, 5], [5, 5], b"hellohello"), "came before"),
        (Frame([1], [1 << 30], [5], b"hello"), "is said to have"),
        (Frame([1], [5], [7], b"hellooo"), "is said to have"),
        (Frame([1], [9], [5], b"hello"), "zstd"),
        (Frame(missing=[77]), "missing"),
        (Frame(kind=1, root=bytes(32)), "closure"),
        (Frame(kind=3, root=bytes(32), first=1 << 31), "hot set"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_an_error_for_everyone(ends: Ends, frame: Frame, reason: str) -> None:
    digest, other = ends.small(b"hello", b"other")
    ends.scheduler.read(digest, 5, 0, 5, ends.done)
    ends.scheduler.read(other, 5, 0, 5, ends.done)
    ends.ask()
    with pytest.raises(ServerMisbehaves, match=reason):
        ends.scheduler.receive(encode_frame(frame))
    assert ends.scheduler.waiting() == ends.scheduler.in_flight() == 0
    assert len(ends.got) == 2
    assert all(isinstance(result, ServerMisbehaves) or text(result) == b"hello" for result in ends.got)


def test_a_frame_that_is_no_message_is_an_error_for_everyone(ends: Ends) -> None:
    (digest,) = ends.small(b"hello")
    ends.scheduler.read(digest, 5, 0, 5, ends.done)
    ends.ask()
    with pytest.raises(ServerMisbehaves):
        ends.scheduler.receive(b"\xff\xff")
    assert [type(result) for result in ends.got] == [ServerMisbehaves]


def test_on_a_new_connection_only_what_has_not_come_is_asked_at_the_priority_it_had(ends: Ends) -> None:
    here, urgent, later = ends.small(b"first", b"second", b"third")
    ends.scheduler.prefetch([(here, 5), (later, 5)], CLOSURE)
    ends.scheduler.read(urgent, 6, 0, 6, ends.done)
    ends.ask()
    ends.scheduler.receive(ends.server.answer([one for one in ends.server.wanted if one.key.digest == here]))
    ends.scheduler.lost("cut")
    ends.server.restart()
    assert ends.scheduler.outgoing() == []
    ends.scheduler.connected()
    ends.ask()
    assert [(one.key.digest, one.priority) for one in ends.server.wanted] == [(urgent, FOREGROUND), (later, CLOSURE)]
    ends.pump()
    assert [text(result) for result in ends.got] == [b"second"]


def test_one_who_waits_too_long_is_let_go_and_the_item_still_comes(ends: Ends) -> None:
    (digest,) = ends.small(b"hello")
    ends.scheduler.read(digest, 5, 0, 5, ends.done)
    ends.ask()
    ends.now = 29.0
    assert ends.scheduler.expire(30) == 1.0
    assert ends.got == []
    ends.now = 30.0
    ends.scheduler.expire(30)
    assert [type(result) for result in ends.got] == [StoreUnavailable]
    assert "30 s" in str(ends.got[0])
    ends.pump()
    assert text(ends.scheduler.read(digest, 5, 0, 5, ends.done)) == b"hello"
    assert len(ends.got) == 1


def test_a_trickle_is_no_sign_of_life_and_a_stream_is(ends: Ends) -> None:
    (digest,) = ends.small(b"hello")
    ends.scheduler.read(digest, 5, 0, 5, ends.done)
    ends.ask()
    ends.now = 20.0
    ends.scheduler.alive(LIFE_BYTES)
    ends.now = 40.0
    ends.scheduler.alive(LIFE_BYTES - 1)
    ends.scheduler.expire(30)
    assert ends.got == []
    ends.now = 50.0
    ends.scheduler.expire(30)
    assert [type(result) for result in ends.got] == [StoreUnavailable]


def test_while_there_is_no_connection_the_error_says_why(ends: Ends) -> None:
    (digest,) = ends.small(b"hello")
    ends.scheduler.lost("connection refused")
    ends.scheduler.read(digest, 5, 0, 5, ends.done)
    ends.now = 31.0
    ends.scheduler.expire(30)
    assert "connection refused" in str(ends.got[0])


def test_one_who_leaves_is_not_called(ends: Ends) -> None:
    (digest,) = ends.small(b"hello")
    ends.scheduler.read(digest, 5, 0, 5, ends.done)
    assert ends.scheduler.leave(ends.done)
    assert not ends.scheduler.leave(ends.done)
    ends.pump()
    assert ends.got == []


def test_first_uses_are_recorded_in_their_order_and_prefetches_are_not(ends: Ends) -> None:
    first, second, never = ends.small(b"first", b"second", b"never")
    ends.scheduler.prefetch([(never, 5), (second, 6)], CLOSURE)
    for digest, size in ((first, 5), (second, 6), (first, 5)):
        ends.scheduler.read(digest, size, 0, size, ends.done)
        ends.pump()
    assert ends.scheduler.used == [Key(first), Key(second)]


def test_far_need_not_be_there_for_what_is_near(ends: Ends) -> None:
    digest = ends.near.blobs.put(b"near")
    ends.scheduler.lost("cut")
    assert text(ends.scheduler.read(digest, 4, 0, 4, ends.done)) == b"near"


def test_a_called_one_may_call_back(ends: Ends) -> None:
    first, second = ends.small(b"first", b"second")

    def again(result: object) -> None:
        ends.got.append(result)
        here = ends.scheduler.read(first, 5, 0, 5, ends.done)
        ends.got.append(here)
        ends.scheduler.read(second, 6, 0, 6, ends.done)

    ends.scheduler.read(first, 5, 0, 5, again)
    ends.pump()
    assert [text(result) for result in ends.got] == [b"first", b"first", b"second"]
