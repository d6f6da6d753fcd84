"""How much callers may use up, and what those hear who come when all of it is in use.

Three kinds of calls have threads of their own, so that none is held up by another: calls with one answer, streams that end by
themselves, and long streams, which stay open as long as a mount does. The first two may wait for a thread for a while; a long
stream would wait for hours and is refused at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition, Lock
from typing import Any, NamedTuple

from tvix.errors import EX_DATAERR, EX_TEMPFAIL, TvixError
from tvix.grpc_api.methods import BOTH_WAYS, STREAM_IN, UNARY, Method


class Limits(NamedTuple):
    """What callers may use up. Times in seconds, sizes in bytes."""

    message_bytes: int = 16 << 20
    """The largest message that is taken; a directory is one message."""
    streams_per_connection: int = 128
    """Of gRPC."""
    calls: int = 4096
    """Of gRPC, at one time, on all connections; those beyond are refused by gRPC itself."""
    call_threads: int = 64
    calls_waiting: int = 1024
    stream_threads: int = 128
    streams_waiting: int = 256
    long_streams: int = 256
    connections: int = 4096
    """Framed ones, idle or not."""
    request_bytes: int = 256 << 20
    """Of large framed requests that are being received, all together."""
    stall: float = 60.0
    """How long a call may wait for its caller to read or send more."""
    question: float = 10.0
    """How long the one request of a method that only reads may be on its way: it holds a thread meanwhile."""

    def patience(self, method: Method) -> float:
        """How long a request of `method` may be on its way."""
        return self.stall if method.needs_write or method.kind in (STREAM_IN, BOTH_WAYS) else min(self.question, self.stall)


DEFAULT_LIMITS = Limits()


class TooManyCalls(TvixError):
    """All threads for a kind of call are busy, and enough callers wait for one."""

    identifier = "grpc.too-many-calls"
    message = "the server is busy: {limit} {what} are under way and {waiting} wait"
    hint = "try again in a moment; with --processes the server uses more cores"
    exit_code = EX_TEMPFAIL


class TooManyStreams(TvixError):
    """As many long streams are open as a server has threads for."""

    identifier = "grpc.too-many-streams"
    message = "the server has {limit} long streams open, which is all it takes"
    hint = "unmount what isn't needed, or start the server with more --processes"
    exit_code = EX_TEMPFAIL


class TooManyConnections(TvixError):
    """As many connections are open as a server takes."""

    identifier = "grpc.too-many-connections"
    message = "the server has {limit} connections open, which is all it takes"
    hint = "try again in a moment, or start the server with more --processes"
    exit_code = EX_TEMPFAIL


class TooMuchAtOnce(TvixError):
    """Large requests are being received that fill what memory there is for them."""

    identifier = "grpc.too-much-at-once"
    message = "the server is receiving {limit} bytes of requests, which is all it has room for"
    hint = "try again in a moment"
    exit_code = EX_TEMPFAIL


class MessageTooLarge(TvixError):
    """A message that is refused for its size, before any of it is read."""

    identifier = "grpc.message-too-large"
    message = "a message of {size} bytes is larger than max, {limit} bytes"
    hint = "large blobs go in pieces"
    exit_code = EX_DATAERR


BUSY = (TooManyCalls, TooManyStreams, TooManyConnections, TooMuchAtOnce)
"""What passes by itself."""


class BoundedPool(ThreadPoolExecutor):
    """Threads, and a queue that has an end: whoever submits looks at `full` before."""

    def __init__(self, threads: int, waiting: int, name: str) -> None:
        super().__init__(threads, name)
        self._limit = threads + waiting
        self._count = 0
        self._count_lock = Lock()

    @property
    def full(self) -> bool:
        """Whether as many are running and waiting as may."""
        return self._count >= self._limit

    def submit(self, function: Callable[..., Any], /, *arguments: object, **options: object) -> Future[Any]:
        """See `Executor`."""
        with self._count_lock:
            self._count += 1
        try:
            future = super().submit(function, *arguments, **options)
        except BaseException:
            self._left(None)
            raise
        future.add_done_callback(self._left)
        return future

    def _left(self, _future: object) -> None:
        with self._count_lock:
            self._count -= 1


class Slots:
    """The same for callers that have a thread already: at most `limit` are inside, at most `waiting` stand before the door."""

    def __init__(self, limit: int, waiting: int) -> None:
        self._limit = limit
        self._waiting_max = waiting
        self._inside = self._waiting = 0
        self._condition = Condition()

    @contextmanager
    def taken(self, refusal: TvixError) -> Iterator[None]:
        """Raises `refusal` where there is no room to wait either."""
        with self._condition:
            if self._inside >= self._limit:
                if self._waiting >= self._waiting_max:
                    raise refusal
                self._waiting += 1
                try:
                    self._condition.wait_for(lambda: self._inside < self._limit)
                finally:
                    self._waiting -= 1
            self._inside += 1
        try:
            yield
        finally:
            with self._condition:
                self._inside -= 1
                self._condition.notify()


class Room:
    """Bytes that may be in use at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._lock = Lock()

    def take(self, size: int) -> None:
        """Raises `TooMuchAtOnce`."""
        with self._lock:
            if self._used + size > self._limit:
                raise TooMuchAtOnce(limit=self._limit)
            self._used += size

    def give_back(self, size: int) -> None:
        """They are free again."""
        with self._lock:
            self._used -= size


def refusal(method: Method, limits: Limits) -> TvixError:
    """What a call of `method` hears when there is no room for it."""
    if method.kind == BOTH_WAYS:
        return TooManyStreams(limit=limits.long_streams)
    if method.kind == UNARY:
        return TooManyCalls(what="calls", limit=limits.call_threads, waiting=limits.calls_waiting)
    return TooManyCalls(what="streams", limit=limits.stream_threads, waiting=limits.streams_waiting)
