"""What a stream of `Fetch` answers, in which order, and what it refuses."""

from __future__ import annotations

import random
from threading import Thread

import pytest
import zstandard

from tvix.castore.blobs.interface import StoredBlob
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode, Name
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.transfer.closure_message import decode_closure_part
from tvix.castore.transfer.hot_set import KEY_BYTES, KEYS_MAX, Key, encode_keys
from tvix.castore.transfer.messages import (
    ANNOUNCED,
    ANNOUNCEMENT,
    AS_STORED,
    CLOSURE,
    DIRECTORIES,
    ITEMS,
    SIBLINGS,
    Ask,
    Frame,
    decode_frame,
    encode_ask,
)
from tvix.grpc_api import fetch_items, fetch_session
from tvix.grpc_api.fetch_items import ItemTooLarge
from tvix.grpc_api.fetch_memory import FetchMemory
from tvix.grpc_api.fetch_queue import STREAM_IDS_MAX, STREAM_MESSAGES_MAX, Budget, TooMuchAsked
from tvix.grpc_api.fetch_session import OPENINGS_MAX, FetchSession, FetchSource

ABSENT = digest_of(b"never stored")


class HotSets:
    """One hot set for everything."""

    def __init__(self, keys: bytes | None = None) -> None:
        self.keys = keys
        self.written: list[tuple[Digest, str, bytes]] = []

    def get_hot_set(self, _root: Digest, _profile: str) -> bytes | None:
        return self.keys

    def put_hot_set(self, root: Digest, profile: str, keys: bytes) -> None:
        self.written.append((root, profile, keys))


class Bench:
    """A session over memory."""

    def __init__(self, keys: bytes | None = None, *, may_write: bool = False) -> None:
        self.blobs = MemoryBlobService()
        self.directories = MemoryDirectoryService()
        self.hot_sets = HotSets(keys)
        self.budget = Budget(1 << 20)
        self.source = FetchSource(self.blobs, self.directories, self.hot_sets, budget=self.budget)
        self.session = FetchSession(self.source, may_write=may_write)

    def ask(self, ask: Ask) -> None:
        self.session.receive(encode_ask(ask))

    def next(self) -> Frame | None:
        message = self.session.next()
        return None if message is None else decode_frame(b"".join(message))

    def rest(self) -> list[Frame]:
        return list(iter(self.next, None))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def items(frames: list[Frame]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for frame in frames:
        offset = 0
        for number, length in zip(frame.ids, frame.lengths, strict=True):
            assert number not in found
            found[number] = bytes(frame.payload[offset : offset + length])
            offset += length
    return found


def order(frames: list[Frame]) -> list[int]:
    return [number for frame in frames for number in frame.ids]


def test_what_is_asked_for_comes(bench: Bench) -> None:
    digests = [bench.blobs.put(bytes([n]) * n) for n in range(20)]
    bench.ask(Ask(ids=range(20), digests=digests))
    assert items(bench.rest()) == {n: bytes([n]) * n for n in range(20)}
    assert bench.session.idle
    assert bench.budget.used == 0


def test_a_directory_is_found_by_its_digest(bench: Bench) -> None:
    directory = Directory.of([(Name(b"a"), FileNode(bench.blobs.put(b"a"), 1, executable=False))])
    bench.directories.put([directory])
    bench.ask(Ask(ids=(7,), digests=(directory.digest,)))
    assert items(bench.rest()) == {7: directory.encoded}


def test_what_is_not_here_is_missing_and_holds_nothing_up(bench: Bench) -> None:
    here = bench.blobs.put(b"here")
    bench.ask(Ask(ids=(1, 2, 3), digests=(ABSENT, here, ABSENT)))
    frames = bench.rest()
    assert items(frames) == {2: b"here"}
    assert sorted(number for frame in frames for number in frame.missing) == [1, 3]


def test_ranges(bench: Bench) -> None:
    digest = bench.blobs.put(bytes(range(200)))
    asked = [(0, 10), (190, 0), (195, 100), (500, 5), (3, 1)]
    bench.ask(Ask(ids=range(5), digests=[digest] * 5, offsets=[o for o, _ in asked], lengths=[n for _, n in asked]))
    contents = bytes(range(200))
    assert items(bench.rest()) == {0: contents[:10], 1: contents[190:], 2: contents[195:], 3: b"", 4: contents[3:4]}


def test_a_range_of_what_is_not_here_is_missing(bench: Bench) -> None:
    bench.ask(Ask(ids=(4,), digests=(ABSENT,), offsets=(5,), lengths=(6,)))
    assert [list(frame.missing) for frame in bench.rest()] == [[4]]


def test_the_lowest_priority_number_goes_first_and_then_the_order_of_asking(bench: Bench) -> None:
    digests = [bench.blobs.put(bytes([n])) for n in range(6)]
    bench.ask(Ask(ids=(0, 1), digests=digests[:2], priority=CLOSURE))
    bench.ask(Ask(ids=(2, 3), digests=digests[2:4], priority=SIBLINGS))
    bench.ask(Ask(ids=(4, 5), digests=digests[4:]))
    frames = bench.rest()
    assert order(frames) == [4, 5, 2, 3, 0, 1]
    assert [len(set(frame.ids)) for frame in frames] == [2, 2, 2]


def test_a_frame_is_closed_where_the_client_says(bench: Bench) -> None:
    digests = [bench.blobs.put(bytes([n]) * 1000) for n in range(40)]
    bench.ask(Ask(ids=range(40), digests=digests, max_frame=4000))
    frames = bench.rest()
    assert max(len(frame.payload) for frame in frames) <= 5000
    assert order(frames) == list(range(40))


def test_promoted_ids_overtake_and_come_once(bench: Bench) -> None:
    digests = [bench.blobs.put(bytes([n]) * 1000) for n in range(60)]
    bench.ask(Ask(ids=range(60), digests=digests, priority=CLOSURE, max_frame=2000))
    first = bench.next()
    assert first is not None
    bench.ask(Ask(promote=(50, 40)))
    frames = bench.rest()
    assert set(order(frames)[:2]) == {40, 50}
    assert items([first, *frames]).keys() == set(range(60))


def test_promoting_scattered_ids(bench: Bench) -> None:
    digests = [bench.blobs.put(bytes([n]) * 1000) for n in range(60)]
    ids = [n * 7 % 61 + 1000 for n in range(60)]
    bench.ask(Ask(ids=ids, digests=digests, priority=CLOSURE, max_frame=1000))
    bench.ask(Ask(promote=(ids[50], ids[3])))
    frames = bench.rest()
    assert set(order(frames)[:2]) == {ids[50], ids[3]}
    assert items(frames) == {ids[n]: bytes([n]) * 1000 for n in range(60)}


def test_promoting_what_was_sent_or_never_asked_does_nothing(bench: Bench) -> None:
    bench.ask(Ask(ids=(1,), digests=(bench.blobs.put(b"x"),), priority=SIBLINGS))
    assert order(bench.rest()) == [1]
    bench.ask(Ask(promote=(1, 99)))
    assert bench.rest() == []
    assert bench.session.idle


def test_promoting_twice_sends_once(bench: Bench) -> None:
    bench.ask(Ask(ids=(1,), digests=(bench.blobs.put(b"x"),), priority=SIBLINGS))
    bench.ask(Ask(promote=(1, 1)))
    bench.ask(Ask(promote=(1,)))
    assert order(bench.rest()) == [1]


def closure_of(bench: Bench) -> tuple[Directory, list[Directory]]:
    below = [Directory.of([(Name(b"f%d" % n), FileNode(ABSENT, n, executable=False))]) for n in range(3)]
    root = Directory.of((Name(b"d%d" % n), directory.node) for n, directory in enumerate(below))
    bench.directories.put([*below, root])
    return root, below


def directories_in(frames: list[Frame]) -> list[bytes]:
    found: list[bytes] = []
    for frame in frames:
        payload = zstandard.decompress(frame.payload, max_output_size=frame.raw_size) if frame.codec else frame.payload
        found += decode_closure_part(payload).directories
    return found


@pytest.mark.parametrize("codec", [0, AS_STORED])
def test_a_closure_comes_parents_first(bench: Bench, codec: int) -> None:
    root, below = closure_of(bench)
    for _ in range(2):
        bench.ask(Ask(root=root.digest, closure=True, codec=codec))
        frames = bench.rest()
        assert {(frame.kind, frame.root, frame.more) for frame in frames} == {(DIRECTORIES, root.digest, False)}
        found = directories_in(frames)
        assert found[0] == root.encoded
        assert set(found) == {directory.encoded for directory in (root, *below)}
    assert bench.source.closures.kept_bytes > 0


def test_a_root_that_is_not_here_has_no_directories(bench: Bench) -> None:
    bench.ask(Ask(root=ABSENT, closure=True))
    (frame,) = bench.rest()
    assert (frame.kind, frame.root, frame.more, directories_in([frame])) == (DIRECTORIES, ABSENT, False, [])
    assert bench.source.closures.kept_bytes == 0


def test_what_a_process_waits_for_goes_between_the_parts_of_a_closure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvix.grpc_api.closure_frames.PART_BYTES", 64)
    root, _below = closure_of(bench)
    bench.ask(Ask(root=root.digest, closure=True))
    first = bench.next()
    assert first is not None
    assert first.more
    bench.ask(Ask(ids=(1,), digests=(bench.blobs.put(b"x"),)))
    kinds = [frame.kind for frame in bench.rest()]
    assert kinds[0] == ITEMS
    assert set(kinds[1:]) == {DIRECTORIES}


def test_a_hot_set_is_announced_before_the_closure_and_sent_in_order() -> None:
    bench = Bench()
    digests = [bench.blobs.put(bytes([n]) * 300) for n in range(5)]
    bench.hot_sets.keys = encode_keys([*map(Key, digests), Key(digests[0], 10, 20), Key(ABSENT)])
    root, _below = closure_of(bench)
    bench.ask(Ask(root=root.digest, push=True, closure=True))
    frames = bench.rest()
    assert [frame.kind for frame in frames[:2]] == [ANNOUNCEMENT, DIRECTORIES]
    assert (frames[0].first, frames[0].root, bytes(frames[0].payload)) == (ANNOUNCED, root.digest, bench.hot_sets.keys)
    assert items(frames[2:]) == {ANNOUNCED + n: bytes([n]) * 300 for n in range(5)} | {ANNOUNCED + 5: bytes(20)}
    assert order(frames[2:]) == [ANNOUNCED + n for n in range(6)]
    assert [number for frame in frames for number in frame.missing] == [ANNOUNCED + 6]
    bench.ask(Ask(root=root.digest, push=True))
    assert bench.rest()[0].first == ANNOUNCED + 7
    assert bench.budget.used == 0


def test_a_root_may_be_named_by_its_store_path() -> None:
    bench = Bench()
    bench.hot_sets.keys = encode_keys([Key(bench.blobs.put(b"hot"))])
    root, _below = closure_of(bench)
    bench.source.root_of = {b"\1" * 20: root.digest}.get
    bench.ask(Ask(path=b"\1" * 20, push=True, closure=True))
    announcement, closure, hot = bench.rest()
    assert [(frame.kind, frame.root) for frame in (announcement, closure)] == [
        (ANNOUNCEMENT, root.digest),
        (DIRECTORIES, root.digest),
    ]
    assert items([hot]) == {ANNOUNCED: b"hot"}
    for _ in range(20):  # each is over once it is answered
        bench.ask(Ask(path=b"\2" * 20, push=True, closure=True))
        (nothing,) = bench.rest()
        assert (nothing.kind, nothing.root, len(nothing.payload)) == (DIRECTORIES, b"", 0)
    with pytest.raises(MalformedMessage, match="a path of 3 bytes"):
        bench.ask(Ask(path=b"abc", push=True))


def test_without_a_hot_set_the_announcement_is_empty(bench: Bench) -> None:
    bench.ask(Ask(root=ABSENT, push=True))
    (frame,) = bench.rest()
    assert (frame.kind, len(frame.payload)) == (ANNOUNCEMENT, 0)


def test_announced_ids_can_be_promoted(bench: Bench) -> None:
    digests = [bench.blobs.put(bytes([n]) * 3000) for n in range(5)]
    bench.hot_sets.keys = encode_keys(map(Key, digests))
    bench.ask(Ask(root=ABSENT, push=True, max_frame=1000))
    bench.next()
    bench.ask(Ask(promote=(ANNOUNCED + 3,)))
    assert order(bench.rest())[0] == ANNOUNCED + 3


@pytest.mark.parametrize("may_write", [False, True])
def test_a_record_is_kept_for_those_who_may_write(may_write: bool) -> None:
    bench = Bench(may_write=may_write)
    keys = encode_keys([Key(ABSENT, 1, 2)])
    bench.ask(Ask(root=ABSENT, profile="boot", record=keys))
    assert bench.rest() == []
    assert bench.hot_sets.written == ([(ABSENT, "boot", keys)] if may_write else [])


def test_as_they_lie_or_decompressed() -> None:
    contents = b"again and " * 100

    class Stored(MemoryBlobService):
        def read_stored(self, _digests: list[Digest], _bytes_max: int | None = None) -> list[StoredBlob | None]:
            return [StoredBlob(len(contents), zstandard.compress(contents))]

        def put_stored(self, blobs: object) -> None: ...

    for codec in (0, AS_STORED):
        bench = Bench()
        session = FetchSession(FetchSource(Stored(), bench.directories), may_write=False)
        session.receive(encode_ask(Ask(ids=(1,), digests=(ABSENT,), codec=codec)))
        message = session.next()
        assert message is not None
        frame = decode_frame(b"".join(message))
        assert list(frame.sizes) == [len(contents)]
        assert (frame.lengths[0] < len(contents)) == (codec == AS_STORED)
        assert (zstandard.decompress(frame.payload) if codec else bytes(frame.payload)) == contents


def test_what_no_message_can_hold_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_items, "ITEM_BYTES_MAX", 1000)
    digest = bench.blobs.put(bytes(1001))
    bench.ask(Ask(ids=(1,), digests=(digest,), offsets=(1,), lengths=(0,)))
    assert items(bench.rest()) == {1: bytes(1000)}
    bench.ask(Ask(ids=(2,), digests=(digest,)))
    with pytest.raises(ItemTooLarge, match="1001 bytes"):
        bench.next()


def test_a_hot_set_that_names_too_much_does_no_harm(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_items, "ITEM_BYTES_MAX", 1000)
    bench.hot_sets.keys = encode_keys([Key(bench.blobs.put(bytes(1001))), Key(bench.blobs.put(b"x"))])
    bench.ask(Ask(root=ABSENT, push=True))
    frames = bench.rest()
    assert items(frames[1:]) == {ANNOUNCED + 1: b"x"}
    assert [number for frame in frames for number in frame.missing] == [ANNOUNCED]


def test_too_many_ids_of_one_client(bench: Bench) -> None:
    half = STREAM_IDS_MAX // 2
    bench.ask(Ask(ids=range(half), digests=[ABSENT] * half))
    bench.ask(Ask(ids=range(half, 2 * half), digests=[ABSENT] * half))
    with pytest.raises(TooMuchAsked, match="ids of one client outstanding"):
        bench.ask(Ask(ids=(1 << 20,), digests=(ABSENT,)))
    bench.session.close()
    assert bench.budget.used == 0


def test_too_many_ids_of_all_clients(bench: Bench) -> None:
    bench.source.budget = Budget(10)
    other = FetchSession(bench.source, may_write=False)
    other.receive(encode_ask(Ask(ids=range(8), digests=[ABSENT] * 8)))
    with pytest.raises(TooMuchAsked, match="all clients together"):
        FetchSession(bench.source, may_write=False).receive(encode_ask(Ask(ids=range(3), digests=[ABSENT] * 3)))
    other.close()
    FetchSession(bench.source, may_write=False).receive(encode_ask(Ask(ids=range(3), digests=[ABSENT] * 3)))


def test_what_a_listener_still_hears_when_nobody_answers_any_more_counts_for_nobody(bench: Bench) -> None:
    bench.session.close()
    bench.ask(Ask(ids=range(8), digests=[ABSENT] * 8))
    assert bench.budget.used == 0


def test_too_many_messages(bench: Bench) -> None:
    message = encode_ask(Ask(promote=(1,)))
    for _ in range(STREAM_MESSAGES_MAX):
        bench.session.receive(message)
    with pytest.raises(TooMuchAsked, match="messages of one client"):
        bench.session.receive(message)


def test_too_many_openings(bench: Bench) -> None:
    for _ in range(OPENINGS_MAX):
        bench.ask(Ask(root=ABSENT, closure=True))
    with pytest.raises(TooMuchAsked, match="closures"):
        bench.ask(Ask(root=ABSENT, closure=True))


def test_openings_that_were_answered_count_no_more(bench: Bench) -> None:
    for _ in range(3 * OPENINGS_MAX):
        bench.ask(Ask(root=ABSENT, closure=True, push=True))
        assert len(bench.rest()) == 2


@pytest.mark.parametrize(
    "ask",
    [
        Ask(ids=(ANNOUNCED,), digests=(ABSENT,)),
        Ask(root=ABSENT, record=bytes(KEY_BYTES + 1)),
    ],
)
def test_malformed(bench: Bench, ask: Ask) -> None:
    with pytest.raises(MalformedMessage):
        bench.ask(ask)


def test_a_record_or_profile_that_is_too_long(bench: Bench) -> None:
    for ask in (Ask(root=ABSENT, record=bytes(KEY_BYTES * (KEYS_MAX + 1))), Ask(root=ABSENT, push=True, profile="x" * 513)):
        with pytest.raises(TooMuchAsked, match="longer profile or more keys"):
            bench.ask(ask)


def test_a_client_cannot_have_frames_of_any_size(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_session, "MAX_FRAME_BYTES", 5000)
    digests = [bench.blobs.put(bytes([n]) * 1000) for n in range(40)]
    bench.ask(Ask(ids=range(40), digests=digests, max_frame=(1 << 32) - 1))
    assert max(len(frame.payload) for frame in bench.rest()) <= 6000


def test_a_quarter_of_a_million_ids_take_little(bench: Bench) -> None:
    import tracemalloc

    messages = [encode_ask(Ask(ids=range(n << 14, (n + 1) << 14), digests=[ABSENT] * (1 << 14))) for n in range(16)]
    tracemalloc.start()
    for message in messages:
        bench.session.receive(message)
    held, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 60 * STREAM_IDS_MAX


def test_large_frames_share_what_there_is() -> None:
    blobs = MemoryBlobService()
    source = FetchSource(blobs, MemoryDirectoryService(), memory=FetchMemory(5 << 20))
    large, small = blobs.put(random.Random(1).randbytes(3 << 20)), blobs.put(b"small")
    first, second, third = (FetchSession(source, may_write=False) for _ in range(3))
    for session, digest in ((first, large), (second, large), (third, small)):
        session.receive(encode_ask(Ask(ids=(1,), digests=(digest,))))
    assert first.next() is not None
    assert source.memory.used == 3 << 20
    found = []
    waiting = Thread(target=lambda: found.append(second.next()))
    waiting.start()
    assert third.next() is not None, "small ones need no room"
    waiting.join(0.1)
    assert waiting.is_alive()
    assert found == []
    assert first.next() is None  # so the frame was sent
    waiting.join(20)
    assert len(found[0][1]) == 3 << 20
    second.close()
    assert source.memory.used == 0
