"""One call over a framed connection, from its `CALL` to its `END` or `ERROR`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from threading import Lock
from time import monotonic

from tvix.castore.transfer.framing import CALL, END, MESSAGE, METHOD_BYTES_MAX, record
from tvix.grpc_api.authorisation import authorise
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.framed_wire import NotFramed, Wire
from tvix.grpc_api.load import Limits, MessageTooLarge, Room, Slots, refusal
from tvix.grpc_api.methods import BOTH_WAYS, STREAM_IN, STREAM_OUT, UNARY, Method, MethodTable, joined
from tvix.grpc_api.status import CallerGone, Failures, Stopping, Unsupported

_END = record(END)
_DRAIN_BYTES = 64 << 20
"""What is read of a call that was refused; more isn't worth keeping the connection for."""
_SMALL_BYTES = 64 << 10


class Rules:
    """What all connections of a server share."""

    def __init__(self, table: MethodTable, limits: Limits, failures: Failures, *, read_only: bool) -> None:
        self.table = table
        self.limits = limits
        self.failures = failures
        self.read_only = read_only
        self.room = Room(limits.request_bytes)
        self.stopping = False
        self._calls = Slots(limits.call_threads, limits.calls_waiting)
        self._streams = Slots(limits.stream_threads, limits.streams_waiting)
        self._long_streams = Slots(limits.long_streams, 0)

    def slots(self, method: Method) -> Slots:
        """Those for calls of a method."""
        if method.kind == BOTH_WAYS:
            return self._long_streams
        return self._calls if method.kind == UNARY else self._streams


class Conversation:
    """The calls of one connection, one after the other. `who` says who calls, and is asked on every call."""

    def __init__(self, wire: Wire, rules: Rules, who: Callable[[], Caller]) -> None:
        self.wire = wire
        self._rules = rules
        self._who = who
        self._ended = True
        self._shared = False  # whether the method may read what is sent, on whichever thread
        self._bytes_left = 0
        self._held = 0
        self._reading = Lock()
        self._kind = ""
        self._patience = 0.0
        self._moved = monotonic()
        self._waits = False

    def begins(self, seconds: float) -> bool:
        """Whether a call, or the end of the connection, comes within that time."""
        return self.wire.begins(METHOD_BYTES_MAX, seconds)

    def call(self) -> bool:
        """Take one call; says whether another may follow. Raises `CallerGone` where there is nobody to answer."""
        head = self.wire.header()
        if head is None:
            return False
        kind, length = head
        if kind != CALL or length > METHOD_BYTES_MAX:
            self._not_framed(f"a record of kind {kind} with {length} bytes instead of a call")
        path = self.wire.body(length).decode("utf-8", "replace")
        self._ended = self._shared = False
        method = self._rules.table.get(path)
        self._kind = method.kind if method else ""
        try:
            self._serve(path, method)
        except (CallerGone, NotFramed) as error:
            if not (self._rules.stopping and self._say(Stopping())):
                raise error from None
            return False
        except Exception as error:
            self._say(error)
            if not self._ended and (self._shared or not self._drain()):
                self.wire.linger(1.0)
                return False
        finally:
            self._kind = ""
            self._let_go()
        return self._ended and not self._rules.stopping

    def end_waiting(self, seconds: float) -> None:
        """End the stream that is going on, if it has waited that long for its caller. From any thread."""
        waits = self.wire.writing or self._waits or self._kind == BOTH_WAYS
        if waits and self._kind != UNARY and monotonic() - self._moved >= seconds:
            # What waits to be read hears the end of it, and an error can still be said unless writing is what stands still.
            self.wire.hang_up(socket.SHUT_RDWR if self.wire.writing else socket.SHUT_RD)

    def close(self) -> None:
        """Hang up, and close once nobody reads."""
        self.wire.hang_up()
        with self._reading:
            self.wire.close()

    def _serve(self, path: str, method: Method | None) -> None:
        if method is None:
            raise Unsupported(what=f"{path} is no method of this server")
        rules = self._rules
        caller = self._who()
        if rules.read_only:
            caller = caller._replace(may_write=False)
        authorise(method, caller, read_only=rules.read_only)
        self._patience = rules.limits.patience(method)
        requests = self._requests()
        request = self._one(method, requests) if method.kind in (UNARY, STREAM_OUT) else b""
        with rules.slots(method).taken(refusal(method, rules.limits)):
            self._moved = monotonic()
            if method.kind == UNARY:
                self.wire.answer(joined(method.function(request, caller)), _END)
            elif method.kind == STREAM_IN:
                self.wire.answer(joined(method.function(requests, caller)), _END)
            else:
                self._shared = method.kind == BOTH_WAYS
                self._send_all(method.function(requests if self._shared else request, caller))
        if method.kind in (STREAM_OUT, BOTH_WAYS):  # who hears of the end may begin another one
            self.wire.small(_END)

    def _one(self, method: Method, requests: Iterator[bytes]) -> bytes:
        request = next(requests, None)
        if request is None or next(requests, None) is not None:
            raise Unsupported(what=f"{method.name} takes one message, neither none nor several")
        return request

    def _send_all(self, answers: Iterator[bytes]) -> None:
        try:
            for message in answers:
                self.wire.message(message)
                self._moved = monotonic()
        finally:
            close = getattr(answers, "close", None)
            if close is not None:
                close()
        if self._kind == BOTH_WAYS and self._rules.stopping:
            raise Stopping

    def _requests(self) -> Iterator[bytes]:
        """What the caller sends. Raises `CallerGone`, `NotFramed`, `MessageTooLarge`."""
        # A long stream may be idle for as long as it likes; whether its caller is still there is for the system to find out.
        patience = 1e6 if self._kind == BOTH_WAYS else self._patience
        while not self._ended:
            with self._reading:
                self._waits = True
                head = self.wire.header(patience)
                if head is None:
                    raise CallerGone
                kind, length = head
                if kind == END and not length:
                    self._ended = True
                    self._waits = False
                    return
                if kind != MESSAGE:
                    self._not_framed(f"a record of kind {kind} with {length} bytes within a call")
                message = self._message(length)
                self._moved = monotonic()
                self._waits = False
            yield message

    def _message(self, length: int) -> bytes:
        limit = self._rules.limits.message_bytes
        self._bytes_left = length
        if length > limit:
            raise MessageTooLarge(size=length, limit=limit)
        if self._kind in (STREAM_IN, BOTH_WAYS):
            self._let_go()
        if length > _SMALL_BYTES:
            self._rules.room.take(length)
            self._held += length
        message = self.wire.body(length, self._patience)
        self._bytes_left = 0
        return message

    def _let_go(self) -> None:
        """The message before this one has been dealt with."""
        held, self._held = self._held, 0
        if held:
            self._rules.room.give_back(held)

    def _drain(self) -> bool:
        """Read what is left of a call, so that the next can follow; False where that is too much."""
        left, size = _DRAIN_BYTES, self._bytes_left
        while True:
            left -= size
            if left < 0:
                return False
            self.wire.skip(size)
            head = self.wire.header()
            if head is None:
                return False
            kind, size = head
            if kind == END:
                self._ended = True
                return True
            if kind != MESSAGE:
                return False

    def _say(self, error: Exception) -> bool:
        """Answer with an error, if anybody listens."""
        try:
            self.wire.error(self._rules.failures.status(error, peer=self.wire.peer))
        except CallerGone:
            return False
        return True

    def _not_framed(self, reason: str) -> None:
        error = NotFramed(peer=self.wire.peer, reason=reason)
        if self._say(error):
            self.wire.linger(1.0)
        raise error
