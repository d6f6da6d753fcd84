"""The table of methods over the framed protocol: `tvix+unix:`, `tvix+tcp:` and `tvix+tls:`.

A connection on which nothing happens costs a socket and no thread: one thread polls all of those, and the listening ones. When
something comes, a thread from a bounded pool takes the calls of that connection until it falls silent.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from tvix.castore.transfer.framing import ERROR, encode_status, record
from tvix.errors import TvixError
from tvix.events import Operation
from tvix.grpc_api.framed_call import Conversation, Rules
from tvix.grpc_api.framed_wire import NOTSENT_BYTES, TCP_NOTSENT_LOWAT, NotFramed, Wire
from tvix.grpc_api.load import TooManyConnections
from tvix.grpc_api.status import CallerGone, status_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvix.castore.credentials import ServerTls
    from tvix.events import Emit
    from tvix.grpc_api.caller import Caller

_LINGER_SECONDS = 0.05
"""How long a thread waits for the next call before it leaves the connection to the poll."""
_EVICTABLE_SECONDS = 10.0
_REFUSED_MAX = 1024
_SPARE_THREADS = 32
_ACCEPTED_AT_ONCE = 64


class _Door(NamedTuple):
    """A listening socket: with `tls`, or for callers who are all `caller`."""

    listening: socket.socket
    caller: Caller | None
    tls: ServerTls | None


class _Guest:
    """A connection that was accepted. `idle_since` is when it fell silent."""

    __slots__ = ("conversation", "door", "idle_since", "peer", "socket")

    def __init__(self, connected: socket.socket, door: _Door, peer: str) -> None:
        self.socket = connected
        self.door = door
        self.peer = peer
        self.conversation: Conversation | None = None
        self.idle_since = monotonic()

    def close(self) -> None:
        """Whatever state it is in; not while a thread serves it."""
        if self.conversation is not None:
            self.conversation.close()
        else:
            self.socket.close()


class FramedServer:
    """Serves what was added with `listen` from `start` until `stop`."""

    def __init__(self, rules: Rules, emit: Emit) -> None:
        limits = rules.limits
        self._rules = rules
        self._emit = emit
        self._doors: dict[int, _Door] = {}
        self._parked: dict[int, _Guest] = {}  # in the order in which they fell silent
        self._refused: dict[int, socket.socket] = {}
        self._busy: set[_Guest] = set()
        self._lock = Lock()
        threads = limits.call_threads + limits.stream_threads + limits.long_streams + _SPARE_THREADS
        self._workers = ThreadPoolExecutor(threads, "framed")
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread: Thread | None = None

    def listen(self, listening: socket.socket, caller: Caller | None, tls: ServerTls | None = None) -> None:
        """Take connections from this socket, which is bound and listens."""
        listening.setblocking(False)
        self._doors[listening.fileno()] = _Door(listening, caller, tls)

    def start(self) -> None:
        """Answer from now on."""
        if not self._doors:
            return
        for number in self._doors:
            self._epoll.register(number, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        self._thread = Thread(target=self._poll, name="framed-poll", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no new calls; idle connections are closed at once, others when their call ends."""
        self._rules.stopping = True
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        for door in self._doors.values():
            door.listening.close()
        with self._lock:
            parked, self._parked = list(self._parked.values()), {}
            refused, self._refused = list(self._refused.values()), {}
        for guest in parked:
            guest.close()
        for connected in refused:
            connected.close()

    def end_waiting(self, seconds: float) -> None:
        """End streams that have waited for their callers so long."""
        with self._lock:
            busy = [guest.conversation for guest in self._busy]
        for conversation in busy:
            if conversation is not None:
                conversation.end_waiting(seconds)

    def wait(self, seconds: float) -> bool:
        """Until no call is under way, at most that long; says whether that is so."""
        end = monotonic() + seconds
        while self._busy and monotonic() < end:
            sleep(0.005)
        return not self._busy

    @property
    def idle(self) -> bool:
        """Whether no call is under way."""
        return not self._busy

    def close(self) -> None:
        """End what is still under way."""
        with self._lock:
            busy = list(self._busy)
        for guest in busy:
            if guest.conversation is not None:
                guest.conversation.wire.hang_up()
        self._workers.shutdown(wait=True)
        self._epoll.close()
        os.close(self._wake)

    def _poll(self) -> None:
        while not self._rules.stopping:
            for number, _event in self._epoll.poll():
                door = self._doors.get(number)
                if door is not None:
                    self._accept(door)
                elif number in self._refused:
                    self._dismiss(self._refused.pop(number))
                elif number != self._wake:
                    with self._lock:
                        guest = self._parked.pop(number, None)
                        if guest is not None:
                            self._busy.add(guest)
                    if guest is not None:
                        self._workers.submit(self._work, guest)

    def _accept(self, door: _Door) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connected, address = door.listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM) and not self._evict(0):
                    sleep(0.05)  # a connection waits that there is no number for: it would be reported again at once
                return
            peer = "unix"
            if connected.family != socket.AF_UNIX:
                peer = f"{address[0]}:{address[1]}"
                _prepare(connected)
            connected.setblocking(False)
            if len(self._parked) + len(self._busy) >= self._rules.limits.connections and not self._evict(_EVICTABLE_SECONDS):
                self._refuse(connected, door)
                continue
            self._park(_Guest(connected, door, peer))

    def _park(self, guest: _Guest) -> None:
        """Wait for something to come without a thread."""
        if guest.conversation is not None:
            guest.conversation.wire.rest()
        guest.idle_since = monotonic()
        number = guest.socket.fileno()
        with self._lock:
            self._busy.discard(guest)
            if not self._rules.stopping:
                self._parked[number] = guest
                events = select.EPOLLIN | select.EPOLLONESHOT
                try:
                    self._epoll.register(number, events)
                except FileExistsError:
                    self._epoll.modify(number, events)
                return
        guest.close()

    def _evict(self, seconds: float) -> bool:
        """Close the connection that has been silent longest, if it has been for so long."""
        with self._lock:
            number, guest = next(iter(self._parked.items()), (-1, None))
            if guest is None or monotonic() - guest.idle_since < seconds:
                return False
            del self._parked[number]
        guest.close()
        return True

    def _refuse(self, connected: socket.socket, door: _Door) -> None:
        """Answer the first thing that is said with an error, so that it isn't lost in a reset."""
        if door.tls is not None or len(self._refused) >= _REFUSED_MAX:
            connected.close()
            return
        self._refused[connected.fileno()] = connected
        self._epoll.register(connected.fileno(), select.EPOLLIN | select.EPOLLONESHOT)

    def _dismiss(self, connected: socket.socket) -> None:
        status = status_of(TooManyConnections(limit=self._rules.limits.connections))
        with suppress(OSError), connected:
            connected.recv(64 << 10)
            connected.send(record(ERROR, encode_status(status)))
            connected.shutdown(socket.SHUT_WR)

    def _work(self, guest: _Guest) -> None:
        try:
            conversation = guest.conversation or self._greet(guest)
            going = True
            while going and not self._rules.stopping:
                hurry = self._workers._work_queue.qsize() > 0
                if not conversation.begins(0 if hurry else _LINGER_SECONDS):
                    self._park(guest)
                    return
                going = conversation.call()
        except CallerGone:
            pass
        except TvixError as error:
            if not isinstance(error, NotFramed):
                Operation(self._emit, "connection", peer=guest.peer).log(str(error))
        except Exception as error:  # a connection that harms itself harms no other
            self._rules.failures.status(error, peer=guest.peer)
        guest.close()
        with self._lock:
            self._busy.discard(guest)

    def _greet(self, guest: _Guest) -> Conversation:
        """Find out who it is."""
        door = guest.door
        if door.tls is None:
            assert door.caller is not None
            caller = door.caller
            who: Callable[[], Caller] = lambda: caller  # noqa: E731
        else:
            from tvix.grpc_api.identity import caller_of
            from tvix.grpc_api.tls_sockets import accept

            guest.socket, _caller = accept(guest.socket, door.tls, guest.peer)
            certificate = guest.socket.getpeercert(binary_form=True) or b""
            who = partial(caller_of, certificate, door.tls.site)
        wire = Wire(guest.socket, self._rules.limits.stall, guest.peer)
        guest.conversation = Conversation(wire, self._rules, who)
        return guest.conversation


def _prepare(connected: socket.socket) -> None:
    """Small answers go out at once, little waits in the kernel, and a caller that vanished is noticed within two minutes."""
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_BYTES),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 90_000),
    ):
        with suppress(OSError):
            connected.setsockopt(level, option, value)
