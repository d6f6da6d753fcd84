"""A source whose far end is a server of our own protocol: no thread waits for it, the mount's loop polls its connection.

What is on its way, and who waits for it, is the scheduler's table. Path infos are asked for seldom and by blocking calls, so these
board flights, as everything does in `tvix.mount.threaded_source`.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tvix.castore.nodes import DirectoryNode
from tvix.castore.transfer.hot_set import HotSetService, decode_keys
from tvix.castore.transfer.messages import HOT_SET
from tvix.errors import TvixError
from tvix.mount.flights import Flights
from tvix.mount.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tvix.castore.blobs.interface import Buffer
    from tvix.castore.digests import Digest
    from tvix.castore.directory import Directory
    from tvix.castore.transfer.connection import Connection
    from tvix.castore.transfer.scheduler import Scheduler
    from tvix.mount.counters import Counters
    from tvix.mount.prefetch import Policy
    from tvix.mount.source import Done, Polled
    from tvix.mount.tree import Tree
    from tvix.nix_compat.signatures import VerifyingKey
    from tvix.nix_compat.store_path import StorePath, StorePathDigest
    from tvix.store.path_info import PathInfo
    from tvix.store.store import Store

T = TypeVar("T")
FAST_KIB, SLOW_KIB = 1024, 32
_SLOW_SECONDS = 0.002
_OPENING_SECONDS = 0.1  # is how long a server may take that hasn't said yet whether it knows of openings by path
_RTT_OFFSET = 148  # of tcpi_min_rtt in struct tcp_info: busy machines make the smoothed one many times as long
_UNMEASURED = 0xFFFFFFFF
_PIECES_MAX = 256  # of one reply; writev(2) takes 1024


class FarEnds(NamedTuple):
    """The stores behind a source: `whole` is everything, `near` what answers at once.

    `counters` has the blocking calls. `profile` is under which name accesses are recorded, `hot_sets` where, the one that is near
    first.
    """

    whole: Store
    near: Store
    counters: Counters
    profile: str
    hot_sets: Sequence[HotSetService]


class PolledSource:
    """Directories and contents by `scheduler`, whose messages `connection` carries; the rest by the blocking calls of `ends`."""

    def __init__(self, ends: FarEnds, scheduler: Scheduler, connection: Connection, policy: Policy, deadline: float) -> None:
        self._ends = ends
        self._scheduler = scheduler
        self._connection = connection
        self._policy = policy
        self._deadline = deadline
        self._flights = Flights(deadline, lambda: ends.counters.heard)
        self._asked: dict[int, Done] = {}
        self._opened: set[Digest] = set()
        self._path_roots: set[Digest] = set()
        self._recording: Recording | None = None
        self._undecided: list[Digest] = []
        """Roots that were near when they were opened: whether anything is recorded isn't known yet."""
        self._stalls = 0
        self._keeps = False
        """Whether the recording is being kept."""
        self._closed = False

    @property
    def polled(self) -> Polled | None:
        """See `Source`."""
        return self

    # What is near.

    def near_directory(self, digest: Digest) -> Directory | None:
        """See `Source`."""
        return self._scheduler.near.directory(digest)

    def near_path(self, digest: StorePathDigest) -> PathInfo | None:
        """See `Source`."""
        return self._noted(self._ends.near.path_infos.get_many([digest]).get(digest))

    def near_contents(self, _digest: Digest, _size: int, _offset: int, _length: int) -> Sequence[Buffer] | None:
        """See `Source`. None always: the scheduler looks near by itself, and answers at once what is there."""
        return None

    # What may be far.

    def ask_directory(self, ticket: int, digest: Digest, done: Done) -> None:
        """See `Source`."""
        if digest in self._path_roots and digest not in self._opened:
            self._open_root(digest)
        answer = self._once(ticket, done)
        directory = self._scheduler.directory(digest, answer)
        if directory is not None:
            answer(directory)
        else:
            self._stalls += 1
            self._connection.flush()

    def ask_contents(self, ticket: int, node: int, digest: Digest, size: int, offset: int, length: int, done: Done) -> None:
        """See `Source`."""
        answer = self._once(ticket, done)
        on_the_way = self._scheduler.in_flight()
        try:
            pieces = self._scheduler.read(digest, size, offset, length, answer)
        except TvixError as error:
            answer(error)
            return
        if pieces is not None:
            answer(pieces)
        else:
            self._stalls += 1
            self._policy.missed(node, digest, size, offset, length, expected=self._scheduler.in_flight() == on_the_way)
            self._connection.flush()

    def ask_path(self, ticket: int, digest: StorePathDigest, done: Done) -> None:
        """See `Source`."""
        self._flights.board(("path", digest), ticket, lambda: self._fetch_path(digest), done)

    def ask_paths(self, ticket: int, done: Done) -> None:
        """See `Source`."""
        self._flights.board(("list", b""), ticket, lambda: list(self._ends.whole.path_infos.list()), done)

    def leave(self, ticket: int) -> bool:
        """See `Source`."""
        answer = self._asked.pop(ticket, None)
        if answer is not None:
            return self._scheduler.leave(answer)
        return self._flights.leave(ticket) is not None

    def expire(self) -> None:
        """See `Source`. Those who wait for the scheduler are let go by the connection's turns."""
        self._flights.expire()

    # The beginning.

    def begin(self, root: Digest) -> None:
        """Ask for the closure of a root, and for what was read of it the last time. Waits for nothing."""
        recording = self._recording = Recording(root, self._ends.profile, self._scheduler.used, self._ends.hot_sets)
        record = recording.near_record() if self._policy.pushes else None
        self._open_root(root, push=not record)
        if record:
            with suppress(TvixError):
                self._scheduler.prefetch_keys(decode_keys(record), HOT_SET)
                self._policy.opened(root, recorded=True)
        self._connection.turn()

    def root(self, digest: Digest) -> Directory:
        """See `Source`."""
        if digest not in self._opened:
            self.begin(digest)
        found: list[object] = []
        directory = self._scheduler.directory(digest, found.append)
        while directory is None and not found:
            self._wait()
        if directory is None:
            directory = _result(found[0])
        return directory

    def trusted_root(self, path: StorePath, keys: Sequence[VerifyingKey]) -> Digest:
        """See `Source`."""
        from tvix.store.closure_roots.trust import trusted_root

        return self._meanwhile(lambda: trusted_root(self._ends.whole, path, keys))

    def closure_of(self, path: StorePath) -> Directory:
        """See `Source`. Recorded under the root of `path` itself: no server knows a directory of all of them."""
        from tvix.store.closure import closure_directory

        return closure_directory(self._open_closure(path).values())

    def expect(self, path: StorePath) -> None:
        """See `Source`. What isn't there is told to who reads it."""
        with suppress(TvixError):
            self._open_closure(path)

    def _open_closure(self, path: StorePath) -> Mapping[StorePath, PathInfo]:
        from tvix.store.closure import closure

        if not self._ends.near.path_infos.get_many([path.digest]):
            self._scheduler.open_path(path.digest, push=self._policy.pushes, profile=self._ends.profile)
        infos = self._meanwhile(lambda: closure(self._ends.whole.path_infos, [path]))
        end = monotonic() + _OPENING_SECONDS
        while self._scheduler.opening() and (left := end - monotonic()) > 0:
            self._wait(seconds=left)
        first = infos[path].node
        if type(first) is DirectoryNode:
            self.begin(first.digest)
        for info in infos.values():
            node = info.node
            if type(node) is DirectoryNode and node.digest not in self._opened:
                self._open_root(node.digest)
        self._connection.turn()
        return infos

    def watch(self, tree: Tree) -> None:
        """The tree whose files are read."""
        self._policy.watch(tree)

    @property
    def read_ahead_kib(self) -> int:
        """See `Source`."""
        return read_ahead(max((round_trip(descriptor) for descriptor, _ in self.descriptors()), default=0.0))

    # The connection, in the loop's thread.

    def descriptors(self) -> Iterable[tuple[int, int]]:
        """See `Polled`."""
        return self._connection.descriptors()

    def timeout(self) -> float | None:
        """See `Polled`."""
        if self._policy.pending:
            return 0.0
        times = [self._connection.timeout()]
        if self._recording is not None and not self._keeps:
            times.append(self._recording.due_in())
        return min((seconds for seconds in times if seconds is not None), default=None)

    def turn(self) -> bool:
        """See `Polled`."""
        turned = self._connection.turn()
        if self._undecided:
            self._decide()
        if turned:
            return True
        if self._policy.step():
            self._connection.flush()
            return True
        recording = self._recording
        if recording is not None and not self._keeps and recording.is_due():
            self._keeps = True
            self._flights.board(("record", b""), 0, lambda: self._record(recording, self._connection.ready), self._kept)
        return False

    @property
    def waits(self) -> bool:
        """See `Polled`."""
        return self._connection.waits

    # Numbers, and the end.

    def counters(self) -> Mapping[str, object]:
        """See `Source`."""
        counts = self._scheduler.counts
        calls = self._ends.counters
        return {
            "bytesFetched": calls.bytes_fetched + self._connection.received_bytes,
            "roundTrips": calls.round_trips + self._stalls,
            "connections": self._connection.dialled,
            "stalls": self._stalls,
            "promoted": counts.promoted,
            "bytesPrefetched": counts.prefetched_bytes,
            "bytesWasted": counts.wasted_bytes,
            "keysRecorded": len(self._scheduler.used),
        }

    def close(self) -> None:
        """See `Source`. What was read is recorded, and whoever waits is told that nothing will come."""
        if not self._closed:
            self._closed = True
            reachable = self._connection.ready
            self._connection.close()
            if self._recording is not None:
                self._record(self._recording, reachable)
            self._flights.close()

    def join(self, seconds: float) -> None:
        """See `Source`."""
        self._flights.join(seconds)

    # Inside.

    def _record(self, recording: Recording, reachable: bool) -> None:
        recording.keep(self._scheduler.announced.get(recording.root) or recording.near_record(), near_alone=not reachable)

    def _kept(self, _result: object) -> None:
        self._keeps = False

    def _open_root(self, root: Digest, push: bool = False) -> None:
        """Ask for a closure, and have the policy told once it is here."""
        self._opened.add(root)
        push = push and self._policy.pushes

        def told(result: object) -> None:
            if not isinstance(result, Exception):
                self._policy.opened(root, recorded=bool(self._scheduler.announced.get(root)))

        if self._scheduler.open_root(root, push=push, profile=self._ends.profile, done=told):
            self._undecided.append(root)

    def _decide(self) -> None:
        """Tell the policy of roots that were near, once the server has said what it has recorded."""
        announced = self._scheduler.announced.get(self._recording.root) if self._recording is not None else None
        if announced is not None:
            undecided, self._undecided = self._undecided, []
            for root in undecided:
                self._policy.opened(root, recorded=bool(announced))

    def _once(self, ticket: int, done: Done) -> Done:
        def answer(result: object) -> None:
            self._asked.pop(ticket, None)
            if isinstance(result, list) and len(result) > _PIECES_MAX:
                result = [b"".join(result)]
            done(result)

        self._asked[ticket] = answer
        return answer

    def _fetch_path(self, digest: StorePathDigest) -> PathInfo | None:
        return self._noted(self._ends.whole.path_infos.get_many([digest]).get(digest))

    def _noted(self, info: PathInfo | None) -> PathInfo | None:
        if info is not None and type(info.node) is DirectoryNode:
            self._path_roots.add(info.node.digest)
        return info

    def _meanwhile(self, call: Callable[[], T]) -> T:
        """What a blocking call gives; the connection comes up beside it, so that contents are asked for as soon as it is over."""
        over = os.eventfd(0, os.EFD_CLOEXEC)
        results: list[object] = []

        def told(result: object) -> None:
            results.append(result)
            os.eventfd_write(over, 1)

        self._flights.board(("beginning", b""), 0, call, told)
        while not results:
            self._wait(over)
        os.eventfd_read(over)  # so that it isn't closed before it is written
        os.close(over)
        if isinstance(results[0], Exception):
            raise results[0]
        return results[0]  # type: ignore[return-value]

    def _wait(self, *others: int, seconds: float | None = None) -> None:
        """One turn of a loop that has nothing else to look at but whether one of `others` is readable, for at most `seconds`."""
        if not self._connection.turn():
            poll = select.poll()
            for other in others:
                poll.register(other, select.POLLIN)
            for descriptor, events in self._connection.descriptors():
                poll.register(descriptor, events)
            times = [limit for limit in (seconds, self._connection.timeout()) if limit is not None]
            poll.poll(int(min(times) * 1000) + 1 if times else None)


def read_ahead(seconds: float) -> int:
    """How many KiB the kernel should read ahead, by the seconds of a round trip to the server.

    On slow links each byte that nobody needs costs more than the requests it saves: they get 32 KiB from two milliseconds
    on. On fast ones each request counts: an emulated machine runs a small program in half the time with few large ones.
    """
    return SLOW_KIB if seconds >= _SLOW_SECONDS else FAST_KIB


def round_trip(descriptor: int) -> float:
    """The least that TCP has measured on a connection, in seconds; 0 for what is no TCP connection. See tcp(7), TCP_INFO."""
    import socket

    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:
        return 0.0
    try:
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_OFFSET + 4)
    except OSError:
        return 0.0
    finally:
        connection.detach()
    microseconds = int.from_bytes(information[_RTT_OFFSET:], "little")
    return 0.0 if microseconds == _UNMEASURED else microseconds / 1e6


def _result(result: object) -> Directory:
    if isinstance(result, Exception):
        raise result
    return result  # type: ignore[return-value]
