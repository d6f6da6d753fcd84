"""A way to a store server by the framed protocol: over Unix, TCP and TLS sockets, with nothing heavy to import.

A connection carries one call at a time, so there is a pool of them: a call takes one that is idle, or makes one. Many questions go
one behind the other on one connection, without waiting for answers in between. A call that is broken off closes its connection.

Forking does no harm: a child makes connections of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from os import getpid
from threading import RLock
from time import monotonic

from tvix.castore.addresses import Address
from tvix.castore.blobs.interface import Buffer
from tvix.castore.framed_connection import Connection, connect
from tvix.castore.remote_calls import NEVER
from tvix.castore.remote_channel import DEADLINE, Channel
from tvix.castore.remote_errors import CallFailed

_IDLE_MAX = 8
_AHEAD_CALLS = 64
_AHEAD_BYTES = 32 << 10  # less than any socket's buffer: a server that doesn't read before it has written is no deadlock


class _Pool:
    """The connections of one process."""

    def __init__(self) -> None:
        self.process = getpid()
        self.lock = RLock()  # a call that is forgotten is given back whenever Python collects garbage: maybe while this is held
        self.idle: list[Connection] = []
        self.busy: set[Connection] = set()


class FramedChannel(Channel):
    """See `Channel`."""

    in_flight = 8
    streams_in_flight = 4

    def __init__(self, address: Address, deadline: float = DEADLINE, *, distant: bool = False) -> None:
        super().__init__(address, deadline, distant=distant)
        self._pool = _Pool()
        self._closed = False

    def unary_many(self, service: str, method: str, requests: Sequence[bytes]) -> Iterator[bytes | None]:
        """See `Channel`: one behind the other on one connection."""
        if not requests:
            return
        yield self.unary(service, method, requests[0])  # which finds out whether there is a server, and what it calls its services
        done = 1
        while done < len(requests):
            for answer in self._pipelined(self._path(service, method), requests, done):
                yield answer
                done += 1
            if done < len(requests):  # the connection was lost: this one waits for the server, and then the rest is asked at once
                yield self.unary(service, method, requests[done])
                done += 1

    def close(self) -> None:
        """See `Channel`."""
        self._closed = True
        pool = self._own_pool()
        with pool.lock:
            idle, pool.idle = pool.idle, []
            busy = list(pool.busy)
        for connection in idle:
            connection.close()
        for connection in busy:
            connection.break_off()

    def _call(self, path: str, request: bytes, seconds: float) -> Buffer:
        end = monotonic() + seconds
        while True:
            connection = self._take(end)
            was_used = connection.used
            try:
                connection.begin(path, request, end)
                return connection.answer(end)
            except CallFailed as failed:
                if not (was_used and failed.lost) or self._closed:
                    raise self._closed_here(failed) from None
                self._forget_idle()  # it was closed while it was idle, as the others were then
            finally:
                self._give_back(connection)

    def _start(self, path: str, request: bytes) -> _FramedPending:
        return _FramedPending(self, self._begun(path, request))

    def _start_stream(self, path: str, request: bytes) -> _FramedStream:
        return _FramedStream(self, self._begun(path, request))

    def _start_send(self, path: str) -> _FramedSending:
        return _FramedSending(self, self._begun(path, None))

    def _begun(self, path: str, request: bytes | None) -> Connection:
        connection = self._take(monotonic() + self.deadline)
        try:
            connection.begin(path, request)
        except CallFailed as failed:
            self._give_back(connection)
            self._forget_idle()
            raise self._closed_here(failed) from None
        return connection

    def _pipelined(self, path: str, requests: Sequence[bytes], start: int) -> Iterator[bytes | None]:
        """Answers until the connection is lost or a call fails; whoever asks goes on by single calls then."""
        try:
            connection = self._take(monotonic() + self.deadline)
        except CallFailed:
            return
        asked: deque[int] = deque()
        ahead = 0
        position = start
        try:
            while asked or position < len(requests):
                while position < len(requests) and len(asked) < _AHEAD_CALLS:
                    size = len(requests[position]) + len(path)
                    if asked and ahead + size > _AHEAD_BYTES:
                        break
                    connection.begin(path, requests[position])
                    asked.append(size)
                    ahead += size
                    position += 1
                answer: bytes | None
                try:
                    answer = bytes(connection.answer())
                except CallFailed as failed:
                    if failed.code != "NOT_FOUND" or not connection.answered:
                        return
                    answer = None
                ahead -= asked.popleft()
                connection.answered = not asked
                yield answer
        except CallFailed:
            return
        finally:
            connection.answered = connection.answered and not asked
            self._give_back(connection)

    def _take(self, end: float) -> Connection:
        pool = self._own_pool()
        with pool.lock:
            if self._closed:
                raise ValueError(f"{self.origin} is closed")
            if pool.idle:
                connection = pool.idle.pop()
                pool.busy.add(connection)
                return connection
        connection = connect(self.address, self.deadline, end)
        with pool.lock:
            pool.busy.add(connection)
        return connection

    def _give_back(self, connection: Connection) -> None:
        """Keep a connection whose call is over, and close any other."""
        pool = self._own_pool()
        with pool.lock:
            pool.busy.discard(connection)
            keep = connection.answered and not self._closed and len(pool.idle) < _IDLE_MAX
            if keep:
                connection.used = True
                pool.idle.append(connection)
        if not keep:
            connection.close()

    def _forget_idle(self) -> None:
        pool = self._own_pool()
        with pool.lock:
            idle, pool.idle = pool.idle, []
        for connection in idle:
            connection.close()

    def _own_pool(self) -> _Pool:
        """That of this process. What a parent had is closed here, which the parent doesn't notice."""
        pool = self._pool
        if pool.process != getpid():
            inherited, pool = pool, _Pool()
            self._pool = pool
            for connection in (*inherited.idle, *inherited.busy):
                connection.close()
        return pool

    def _closed_here(self, failed: CallFailed) -> CallFailed:
        return CallFailed("CANCELLED", "closed", closed=True) if self._closed else failed


class _FramedCall:
    """A call with a connection of its own."""

    def __init__(self, channel: FramedChannel, connection: Connection) -> None:
        self._channel = channel
        self._connection: Connection | None = connection

    def cancel(self) -> None:
        """Close the connection, unless the call is over; harmless twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if not connection.answered:
                connection.break_off()
            self._channel._give_back(connection)

    def __del__(self) -> None:
        """A call that is forgotten ends."""
        if getattr(self, "_connection", None) is not None:
            self.cancel()

    def _open(self) -> Connection:
        if self._connection is None:
            raise CallFailed("CANCELLED", "it was cancelled here")
        return self._connection

    def _ended(self, failed: CallFailed) -> CallFailed:
        self.cancel()
        return self._channel._closed_here(failed)


class _FramedPending(_FramedCall):
    """See `Pending`."""

    def __init__(self, channel: FramedChannel, connection: Connection) -> None:
        super().__init__(channel, connection)
        self._end = monotonic() + channel.deadline

    def result(self) -> Buffer:
        """See `Pending`."""
        try:
            return self._open().answer(max(self._end, monotonic() + 0.001))
        except CallFailed as failed:
            raise self._ended(failed) from None
        finally:
            self.cancel()


class _FramedStream(_FramedCall):
    """See `RawStream`."""

    def next(self, end: float = NEVER) -> Buffer | None:
        """See `RawStream`."""
        try:
            message = self._open().next(end)
        except CallFailed as failed:
            raise self._ended(failed) from None
        if message is None:
            self.cancel()
        return message


class _FramedSending(_FramedCall):
    """See `Sending`."""

    def send(self, message: Buffer) -> None:
        """See `Sending`."""
        connection = self._open()
        try:
            connection.send(message)
        except CallFailed as failed:
            raise self._ended(_last_word(connection, failed)) from None

    def finish(self) -> Buffer:
        """See `Sending`."""
        connection = self._open()
        try:
            try:
                connection.finish()
            except CallFailed as failed:
                raise _last_word(connection, failed) from None
            return connection.answer()
        except CallFailed as failed:
            raise self._ended(failed) from None
        finally:
            self.cancel()


def _last_word(connection: Connection, failed: CallFailed) -> CallFailed:
    """A server that takes no more may have said why before it closed."""
    if failed.lost:
        try:
            connection.answer(monotonic() + 1)
        except CallFailed as said:
            return failed if said.lost else said
    return failed
