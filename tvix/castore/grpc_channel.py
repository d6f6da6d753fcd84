"""A connection to a store server that speaks the published protocols: how calls are made, retried and bounded in time.

A server that is away is waited for. A call that gets nowhere for `deadline` seconds raises `StoreUnavailable`, and later calls
find the server again by themselves. Everything the protocols offer may be repeated, so a call that is cut off is repeated while
there is time.

The protocols exist under two generations of names. Each service is asked under the later one; a server that doesn't know it is
asked under the earlier one from then on.

The gRPC channel is made by the first call. A process must not fork after that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from os import getpid, urandom
from threading import Lock
from time import monotonic, sleep
from typing import Any, TypeVar

from tvix.castore.addresses import Address
from tvix.castore.grpc_calls import Incoming, Sending
from tvix.castore.grpc_errors import Absent, StoreFailed, failure, is_lost
from tvix.castore.grpc_import import Foreign, import_grpc
from tvix.castore.grpc_watch import Watchdog

DEADLINE = 30.0
"""Seconds for a call to get anywhere, where an address doesn't say otherwise."""

BLOBS = "castore.v1.BlobService"
DIRECTORIES = "castore.v1.DirectoryService"
PATH_INFOS = "store.v1.PathInfoService"

REQUEST_ID_KEY = "tvix-request-id"

_GENERATIONS = ("snix", "tvix")
_IN_FLIGHT = 64
_PATIENCE = 20
_MESSAGE_BYTES_MAX = 16 << 20
_OPTIONS = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.enable_retries", 0),  # they are made here
    ("SingleThreadedUnaryStream", 1),  # a third off the latency of a stream of one message
    ("grpc.enable_http_proxy", 0),  # an address means what it says, whatever the environment holds
    ("grpc.use_local_subchannel_pool", 1),
    # A server that comes back is found within a second; to connect takes what it takes, five seconds at most.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A machine that vanished without a word is noticed while calls wait for it.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]
T = TypeVar("T")


class Channel:
    """The calls. Methods take a service without its generation (`BLOBS`…), and encoded messages. Safe to share between threads.

    A stream that is known to have one message is best asked for or sent as `unary`: it is the same on the wire, and half the work.

    `target` is what gRPC connects to, `origin` what errors call it.
    """

    def __init__(self, target: str, origin: str, deadline: float = DEADLINE) -> None:
        self.origin = origin
        self.deadline = deadline
        self.watchdog = Watchdog(deadline)
        self._target = target
        self._lock = Lock()
        self._channel: Foreign = None
        self._process = 0
        self._methods: dict[tuple[str, str], Any] = {}
        self._generations: dict[str, int] = {}
        self._settled: set[str] = set()
        self._prefix = urandom(4).hex()
        self._numbers = count(1)
        self._closed = False
        self.before_references: list[Callable[[], None]] = []
        """Called before something is sent that refers to what may still be on its way."""

    def unary(self, service: str, method: str, request: bytes, *, patient: bool = False) -> bytes | None:
        """The answer, or None for NOT_FOUND. A `patient` call may take twenty deadlines, for work that takes a server long.

        Raises `StoreUnavailable` and the other errors of `tvix.castore.grpc_errors`, as all methods do.
        """

        def attempt(seconds: float) -> bytes:
            call = self._method("unary_unary", service, method)
            answer: bytes | None = call(request, timeout=seconds, metadata=self.metadata())
            if answer is None:
                raise StoreFailed(origin=self.origin, method=method, reason="it says that all is well and sends no answer")
            return answer

        try:
            return self.persist(service, method, attempt, self.deadline * _PATIENCE if patient else self.deadline)
        except Absent:
            return None

    def unary_many(self, service: str, method: str, requests: Sequence[bytes]) -> Iterator[bytes | None]:
        """The answers in the order of the requests, many of which are on their way at a time."""
        if not requests:
            return
        yield self.unary(service, method, requests[0])  # which finds out whether there is a server, and what it calls its services
        flying: deque[tuple[bytes, Any]] = deque()
        try:
            for request in requests[1:]:
                flying.append((request, self.start_unary(service, method, request)))
                if len(flying) >= _IN_FLIGHT:
                    yield self._landed(service, method, *flying.popleft())
            while flying:
                yield self._landed(service, method, *flying.popleft())
        finally:
            for _request, future in flying:
                future.cancel()

    def _landed(self, service: str, method: str, request: bytes, future: Foreign) -> bytes | None:
        try:
            answer: bytes | None = future.result()
        except import_grpc().RpcError as error:
            if error.code().name == "NOT_FOUND":
                return None
            return self.unary(service, method, request)
        return self.unary(service, method, request) if answer is None else answer

    def start_unary(self, service: str, method: str, request: bytes) -> Foreign:
        """The future of an answer. What its `result` raises is an error of gRPC's."""
        return self._method("unary_unary", service, method).future(request, timeout=self.deadline, metadata=self.metadata())

    def stream(self, service: str, method: str, request: bytes) -> Incoming:
        """Ask for a stream of messages; asking doesn't wait."""
        return Incoming(self, service, method, request)

    def send(self, service: str, method: str, messages: Callable[[], Iterable[bytes]]) -> bytes:
        """Send a stream of messages and return the answer. `messages` is called again for each attempt and must not raise."""

        def attempt(_seconds: float) -> bytes:
            with self.start_send(service, method, messages()) as sending:
                return sending.answer()

        return self.persist(service, method, attempt, self.deadline)

    def start_send(self, service: str, method: str, messages: Iterable[bytes]) -> Sending:
        """Begin to send messages as they come; a context manager. What it raises is an error of gRPC's."""
        return Sending(self, self._method("stream_unary", service, method), messages)

    def start_stream(self, service: str, method: str, request: bytes) -> Foreign:
        """One gRPC call that gives messages."""
        return self._method("unary_stream", service, method)(request, metadata=self.metadata())

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call: an id that the server's log will name."""
        return ((REQUEST_ID_KEY, f"{self._prefix}-{next(self._numbers):x}"),)

    def persist(self, service: str, method: str, attempt: Callable[[float], T], seconds: float) -> T:
        """Call `attempt` with the seconds that are left until it succeeds, fails for good, or `seconds` are over."""
        rpc_error = import_grpc().RpcError
        end = monotonic() + seconds
        pause = 0.02
        while True:
            try:
                answer = attempt(max(end - monotonic(), 0.001))
            except rpc_error as error:
                left = end - monotonic()
                if not self.may_repeat(service, error) or left <= 0:
                    raise failure(self.origin, method, error, seconds) from None
                if error.code().name != "UNIMPLEMENTED":
                    sleep(min(pause, left))
                    pause = min(pause * 2, 0.25)
            else:
                self._settled.add(service)
                return answer

    def may_repeat(self, service: str, error: Foreign) -> bool:
        """Whether the same call may fare better: the server was away or too busy, or knows the service by its other name."""
        code = error.code().name
        if code == "UNIMPLEMENTED":
            with self._lock:
                if service in self._settled:
                    return False
                generation = self._generations[service] = self._generations.get(service, 0) + 1
                if generation == len(_GENERATIONS):
                    self._generations[service] = 0
                    return False
                return True
        if code == "NOT_FOUND":
            self._settled.add(service)
        return is_lost(error) or (code == "RESOURCE_EXHAUSTED" and "oncurrent RPC" in (error.details() or ""))

    def settle(self, service: str) -> None:
        """The service is known by the name it was called by."""
        self._settled.add(service)

    def flush(self) -> None:
        """See `before_references`."""
        for call in self.before_references:
            call()

    def close(self) -> None:
        """End all calls. Harmless twice."""
        with self._lock:
            self._closed = True
            if self._channel is not None:
                self._channel.close()

    def _method(self, kind: str, service: str, method: str) -> Foreign:
        name = f"/{_GENERATIONS[self._generations.get(service, 0)]}.{service}/{method}"
        found = self._methods.get((kind, name))
        if found is None or self._process != getpid():
            found = self._methods[kind, name] = getattr(self._connected(), kind)(name)
        return found

    def _connected(self) -> Foreign:
        with self._lock:
            if self._closed:
                raise ValueError(f"{self.origin} is closed")
            if self._channel is None:
                self._process = getpid()
                self._channel = import_grpc().insecure_channel(self._target, options=_OPTIONS)
            if self._process != getpid():
                raise AssertionError(f"the channel to {self.origin} was made before this process was forked, and would hang here")
            return self._channel


def open_channel(address: Address) -> Channel:
    """A channel to a `grpc+http:` or `grpc+unix:` address. Raises `InvalidStoreUrl` for a deadline that is none."""
    deadline = address.seconds("deadline", DEADLINE)
    if address.scheme == "grpc+unix":
        from urllib.parse import quote

        return Channel("unix:" + quote(address.path, errors="surrogateescape"), address.url, deadline)
    host = f"[{address.host}]" if ":" in address.host else address.host
    return Channel(f"dns:///{host}:{address.port}", address.url, deadline)
