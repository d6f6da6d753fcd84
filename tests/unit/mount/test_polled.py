"""A loop that looks at the kernel and at a connection."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterable, Iterator
from itertools import count
from threading import Event, Thread, Timer

import pytest

from tvix.castore.addresses import open_castore, parse_address
from tvix.castore.digests import digest_of
from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode, Name
from tvix.castore.transfer.hot_set import Key, encode_keys
from tvix.castore.transfer.messages import ANNOUNCED, ANNOUNCEMENT, Frame, decode_ask, encode_frame
from tvix.castore.transfer.scheduler import Scheduler
from tvix.mount.counters import Counters
from tvix.mount.engines.fuse_waiting import Attended, PollingReader, RequestReader
from tvix.mount.flights import THREADS
from tvix.mount.polled_source import FAST_KIB, SLOW_KIB, FarEnds, PolledSource, read_ahead, round_trip
from tvix.mount.prefetch import Policy
from tvix.nix_compat.store_path import StorePathDigest, parse_basename
from tvix.store.addresses import open_store
from tvix.store.closure import PathNotFound
from tvix.store.store import Store


class Line:
    """A connection that notes its turns; it has news while its socket has."""

    waits = True
    ready = True

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.turns = 0
        self.heard = b""
        self.news = Event()
        self.seconds: float | None = None

    def descriptors(self) -> Iterable[tuple[int, int]]:
        return ((self.ours.fileno(), select.POLLIN),)

    def timeout(self) -> float | None:
        return self.seconds

    def close(self) -> None:
        """Its sockets are the fixture's."""

    def flush(self) -> None:
        """What is asked stays with whoever asks."""

    def turn(self) -> bool:
        self.turns += 1
        try:
            self.heard += self.ours.recv(100)
        except BlockingIOError:
            return False
        self.news.set()
        return True


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.ours.close()
    made.theirs.close()


class Device:
    """A kernel of paper: what is written into it is read as requests."""

    def __init__(self, line: Line) -> None:
        self.kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours = ours
        self.buffer = bytearray(100)
        self.idle = 0
        self.worked = Event()
        self.descriptor = ours.fileno()
        self.reader = PollingReader(self.descriptor, self.buffer, self.work, line, awake=0.0)

    def work(self) -> bool:
        self.idle += 1
        self.worked.set()
        return False

    def close(self) -> None:
        self.kernel.close()
        self._ours.close()


@pytest.fixture
def device(line: Line) -> Iterator[Device]:
    made = Device(line)
    yield made
    made.close()


def test_asleep_it_wakes_for_either(line: Line, device: Device) -> None:
    def other_ends() -> None:
        line.theirs.send(b"news")
        assert line.news.wait(20)
        device.kernel.send(b"request")

    thread = Thread(target=other_ends)
    thread.start()
    assert device.reader.read() == 7
    thread.join()
    assert (line.heard, device.idle) == (b"news", 0)


def test_awake_it_works_ahead_and_still_looks_at_the_connection(line: Line, device: Device) -> None:
    def other_ends() -> None:
        line.theirs.send(b"news")
        assert line.news.wait(20)
        assert device.worked.wait(20)
        device.kernel.send(b"request")

    device.reader = PollingReader(device.descriptor, device.buffer, device.work, line, awake=1000.0)
    thread = Thread(target=other_ends)
    thread.start()
    assert device.reader.read() == 7
    thread.join()
    assert line.heard == b"news"


def test_a_connection_has_its_turn_although_requests_never_end(line: Line, device: Device) -> None:
    for _ in range(9):
        device.kernel.send(b"request")
    for _ in range(9):
        assert device.reader.read() == 7
    assert line.turns == 1


def test_a_time_that_has_come_is_a_turn(line: Line, device: Device) -> None:
    line.seconds = 0.0

    def turn() -> bool:
        line.turns += 1
        if line.turns == 5:
            device.kernel.send(b"request")
        return False

    line.turn = turn  # type: ignore[method-assign]
    device.reader = PollingReader(device.descriptor, device.buffer, device.work, line, 0.0)
    assert device.reader.read() == 7
    assert line.turns >= 5


def test_a_time_that_comes_ends_its_sleep(line: Line, device: Device) -> None:
    line.seconds = 0.01
    rescue = Timer(5, device.kernel.send, (b"too late",))
    rescue.start()

    def turn() -> bool:
        line.turns += 1
        if line.turns == 3:
            device.kernel.send(b"request")
        return False

    line.turn = turn  # type: ignore[method-assign]
    assert device.reader.read() == 7
    rescue.cancel()
    rescue.join()


def test_connections_of_before_are_not_looked_at(line: Line, device: Device) -> None:
    line.seconds = 0.001
    device.reader._sleep()
    first, (line.ours, other) = line.ours, socket.socketpair()
    line.theirs.send(b"for nobody")
    device.reader._sleep()
    assert device.reader._poll.poll(0) == []
    other.send(b"news")
    assert device.reader._poll.poll(0) == [(line.ours.fileno(), select.POLLIN)]
    first.close()
    other.close()


def test_news_keep_it_awake(line: Line, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    times = count(1.0)
    monkeypatch.setattr("tvix.mount.engines.fuse_waiting.monotonic", lambda: next(times))
    news = iter((False, False, True, False, False, False))
    line.turn = lambda: next(news)  # type: ignore[method-assign]
    reader = PollingReader(device.descriptor, device.buffer, device.work, line, awake=2.5)
    monkeypatch.setattr(reader, "_sleep", lambda: device.kernel.send(b"request"))
    assert reader.read() == 7
    assert device.idle == 4, "two before the news, two after them"


@pytest.mark.parametrize("polling", [True, False])
def test_a_request_that_was_taken_back_is_none(device: Device, monkeypatch: pytest.MonkeyPatch, polling: bool) -> None:
    failures = [errno.ENOENT, errno.EINTR, 0, errno.ENODEV, errno.EIO]

    def readv(_descriptor: int, _buffers: object) -> int:
        number = failures.pop(0)
        if number:
            raise OSError(number, os.strerror(number))
        return 7

    monkeypatch.setattr(os, "readv", readv)
    reader = device.reader if polling else RequestReader(device.descriptor, device.buffer, device.work, awake=0.0)
    assert reader.read() == 7
    assert reader.read() == 0
    with pytest.raises(OSError, match="Input/output"):
        reader.read()


def test_whoever_waits_is_looked_at_once_a_second(line: Line) -> None:
    looks: list[int] = []
    waiting = {7}
    attended = Attended(line, waiting, lambda: looks.append(1))
    assert attended.timeout() == 1.0
    attended.turn()
    attended.turn()
    assert looks == [1]
    waiting.clear()
    assert attended.timeout() is None


@pytest.mark.parametrize(("seconds", "kib"), [(0.0, FAST_KIB), (0.0005, FAST_KIB), (0.002, SLOW_KIB), (0.03, SLOW_KIB)])
def test_slow_links_read_less_ahead(seconds: float, kib: int) -> None:
    assert read_ahead(seconds) == kib


def test_a_round_trip_is_what_tcp_measured() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            for _ in range(3):
                client.send(b"x")
                accepted.recv(1)
                accepted.send(b"y")
                client.recv(1)
            assert 0 < round_trip(client.fileno()) < 1
    with socket.socket(socket.AF_UNIX) as other:
        assert round_trip(other.fileno()) == 0.0


def test_looking_for_a_round_trip_leaves_no_descriptor_open() -> None:
    event = os.eventfd(0, os.EFD_CLOEXEC)
    before = os.listdir("/proc/self/fd")
    assert round_trip(event) == 0.0
    assert os.listdir("/proc/self/fd") == before
    os.close(event)


def test_a_recording_that_cannot_be_kept_yet_is_asked_for_once_and_keeps_nobody_awake(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tvix.mount.recording.QUIET_SECONDS", 0.0)
    near = open_castore(parse_address("memory:"))
    scheduler = Scheduler(near, "far", trusts_lists=True)
    away = Event()

    class Away:
        """Path infos that nobody sends."""

        def get_many(self, _digests: Iterable[StorePathDigest]) -> dict[StorePathDigest, object]:
            away.wait(20)
            return {}

    with open_store("memory:") as store:
        whole = Store(store.blobs, store.directories, Away())  # type: ignore[arg-type]
        ends = FarEnds(whole, store, Counters(), "", (store.hot_sets,))  # type: ignore[arg-type]
        source = PolledSource(ends, scheduler, line, Policy("none", scheduler, scheduler.near.directory), 30)  # type: ignore[arg-type]
        root = digest_of(b"root")
        source.begin(root)
        answered: list[object] = []
        for number in range(THREADS):
            source.ask_path(number, StorePathDigest(b"%20d" % number), answered.append)
        scheduler.used.append(Key(digest_of(b"read")))
        source.turn()
        assert source.timeout() is None, "nothing is to do until somebody has time to keep it"
        away.set()
        source.close()
        source.join(20)
        assert store.hot_sets.get_hot_set(root, "")  # type: ignore[union-attr]


class Slow:
    """Path infos that come once the connection is up; it has none."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def get_many(self, _digests: Iterable[StorePathDigest]) -> dict[StorePathDigest, object]:
        self._line.theirs.send(b"up")
        assert self._line.news.wait(20), "the connection has no turn meanwhile"
        return {}


def test_the_connection_comes_up_while_path_infos_are_waited_for(line: Line) -> None:
    near = open_castore(parse_address("memory:"))
    scheduler = Scheduler(near, "far", trusts_lists=True)
    with open_store("memory:") as store:
        whole = Store(store.blobs, store.directories, Slow(line))  # type: ignore[arg-type]
        ends = FarEnds(whole, store, Counters(), "", ())
        source = PolledSource(ends, scheduler, line, Policy("none", scheduler, scheduler.near.directory), 30)  # type: ignore[arg-type]
        path = parse_basename("0123456789abcdfghijklmnpqrsvwxyz-none")
        with pytest.raises(PathNotFound):
            source.closure_of(path)
    assert line.heard == b"up"
    scheduler.connected()
    (ask,) = map(decode_ask, scheduler.outgoing())
    assert (ask.path, ask.closure, ask.push) == (path.digest, True, False), "what the path is comes before its root is known"


@pytest.mark.parametrize("recorded", [False, True])
def test_what_is_not_near_of_a_near_tree_comes_where_nothing_is_recorded(line: Line, recorded: bool) -> None:
    near = open_castore(parse_address("memory:"))
    absent = digest_of(b"absent")
    root = Directory.of([(Name(b"file"), FileNode(absent, 6, False))])
    near.directories.put([root])
    scheduler = Scheduler(near, "far", trusts_lists=True)
    with open_store("memory:") as store:
        policy = Policy("auto", scheduler, scheduler.near.directory)
        source = PolledSource(FarEnds(store, store, Counters(), "", ()), scheduler, line, policy, 30)  # type: ignore[arg-type]
        scheduler.connected()
        source.begin(root.digest)
        while source.turn():
            pass
        assert [bool(decode_ask(message).root) for message in scheduler.outgoing()] == [True]
        keys = encode_keys([Key(digest_of(b"recorded"))]) if recorded else b""
        scheduler.receive(
            encode_frame(Frame(kind=ANNOUNCEMENT, root=root.digest, payload=keys, first=ANNOUNCED if recorded else 0))
        )
        while source.turn():
            pass
        asked = [digest for message in scheduler.outgoing() for digest in decode_ask(message).digests]
    assert asked == ([] if recorded else [absent])
