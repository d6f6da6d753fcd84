"""A way to a store server: how calls are repeated and bounded in time, whatever carries them.

A server that is away is waited for. A call that gets nowhere for `deadline` seconds raises `StoreUnavailable`, and later calls
find the server again by themselves. Everything the protocols offer may be repeated, so a call that is cut off is repeated while
there is time.

The published protocols exist under two generations of names. Each of their services is asked under the later one; a server that
doesn't know it is asked under the earlier one from then on. What a server can do besides is asked once, when it first matters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from time import monotonic, sleep
from typing import TypeVar

from tvix.castore.addresses import Address
from tvix.castore.blobs.interface import Buffer
from tvix.castore.remote_calls import Incoming, Pending, RawStream, Sending
from tvix.castore.remote_errors import Absent, CallFailed, StoreFailed, failure
from tvix.castore.transfer.requests import Description, decode_description

DEADLINE = 30.0
"""Seconds for a call to get anywhere, where an address doesn't say otherwise."""

BLOBS = "castore.v1.BlobService"
DIRECTORIES = "castore.v1.DirectoryService"
PATH_INFOS = "store.v1.PathInfoService"
TRANSFER = "tvix_appliance.castore.v1.Transfer"
PATH_INFO_BATCHES = "tvix_appliance.store.v1.PathInfos"
CLOSURE_ROOTS = "tvix_appliance.store.v1.ClosureRoots"

_GENERATIONS = ("snix", "tvix")
_OURS = "tvix_appliance."
_PATIENCE = 20
T = TypeVar("T")


class Channel(ABC):
    """The calls. Methods take a service without its generation (`BLOBS`…), and encoded messages. Safe to share between threads.

    `origin` is what errors call the server, which is its address. `distant` says that bytes on the way cost more than the work of
    avoiding them.
    """

    in_flight = 64
    """Questions that are on their way at a time."""
    streams_in_flight = 32

    def __init__(self, address: Address, deadline: float = DEADLINE, *, distant: bool = False) -> None:
        self.address = address
        self.origin = address.url
        self.deadline = deadline
        self.distant = distant
        self.before_references: list[Callable[[], None]] = []
        """Called before something is sent that refers to what may still be on its way."""
        self._generation_lock = Lock()
        self._generations: dict[str, int] = {}
        self._settled: set[str] = set()
        self._description: Description | None = None
        self._asked = False

    # What a transport does. Each is one attempt, and raises `CallFailed`; a `path` is /package.Service/Method.

    @abstractmethod
    def _call(self, path: str, request: bytes, seconds: float) -> Buffer:
        """The answer to one request, within `seconds`."""

    @abstractmethod
    def _start(self, path: str, request: bytes) -> Pending: ...

    @abstractmethod
    def _start_stream(self, path: str, request: bytes) -> RawStream: ...

    @abstractmethod
    def _start_send(self, path: str) -> Sending: ...

    @abstractmethod
    def close(self) -> None:
        """End all calls. Harmless twice."""

    def _send_all(self, path: str, messages: Iterable[bytes]) -> Buffer:
        sending = self._start_send(path)
        try:
            for message in messages:
                sending.send(message)
            return sending.finish()
        finally:
            sending.cancel()

    # What clients use.

    def unary(self, service: str, method: str, request: bytes, *, patient: bool = False) -> bytes | None:
        """The answer, or None for NOT_FOUND. A `patient` call may take twenty deadlines, for work that takes a server long.

        Raises `StoreUnavailable` and the errors of `tvix.castore.remote_errors`, as all methods do.
        """

        def attempt(seconds: float) -> bytes:
            return bytes(self._call(self._path(service, method), request, seconds))

        try:
            return self.persist(service, method, attempt, self.deadline * _PATIENCE if patient else self.deadline)
        except Absent:
            return None

    def unary_many(self, service: str, method: str, requests: Sequence[bytes]) -> Iterator[bytes | None]:
        """The answers in the order of the requests, many of which are on their way at a time."""
        if not requests:
            return
        yield self.unary(service, method, requests[0])  # which finds out whether there is a server, and what it calls its services
        flying: deque[tuple[bytes, Pending | None]] = deque()
        try:
            for request in requests[1:]:
                flying.append((request, self.start_unary(service, method, request)))
                if len(flying) >= self.in_flight:
                    yield self.landed(service, method, *flying.popleft())
            while flying:
                yield self.landed(service, method, *flying.popleft())
        finally:
            for _request, pending in flying:
                if pending is not None:
                    pending.cancel()

    def start_unary(self, service: str, method: str, request: bytes) -> Pending | None:
        """A question whose answer `landed` waits for; None where it couldn't even be asked, which `landed` does anew."""
        try:
            return self._start(self._path(service, method), request)
        except CallFailed:
            return None

    def landed(self, service: str, method: str, request: bytes, pending: Pending | None) -> bytes | None:
        """The answer to a question that was started, or None for NOT_FOUND. One that failed is asked again."""
        if pending is not None:
            try:
                return bytes(pending.result())
            except CallFailed as failed:
                if failed.code == "NOT_FOUND":
                    return None
        return self.unary(service, method, request)

    def stream(self, service: str, method: str, request: bytes) -> Incoming:
        """Ask for a stream of messages; asking doesn't wait."""
        return Incoming(self, service, method, request)

    def send(self, service: str, method: str, messages: Callable[[], Iterable[bytes]]) -> bytes:
        """Send a stream of messages and return the answer. `messages` is called again for each attempt and must not raise."""

        def attempt(_seconds: float) -> bytes:
            return bytes(self._send_all(self._path(service, method), messages()))

        return self.persist(service, method, attempt, self.deadline)

    def start_send(self, service: str, method: str) -> Sending:
        """Begin to send messages as they come. Raises `CallFailed`, as what it returns does."""
        return self._start_send(self._path(service, method))

    def start_stream(self, service: str, method: str, request: bytes) -> RawStream:
        """One attempt at a stream of messages. Raises `CallFailed`."""
        return self._start_stream(self._path(service, method), request)

    def persist(self, service: str, method: str, attempt: Callable[[float], T], seconds: float) -> T:
        """Call `attempt` with the seconds that are left until it succeeds, fails for good, or `seconds` are over."""
        end = monotonic() + seconds
        pause = 0.0
        while True:
            generation = self.generation(service)
            try:
                answer = attempt(max(end - monotonic(), 0.001))
            except CallFailed as failed:
                if not pause and (self.encrypted or "closed" in failed.details):
                    self.explain(failed)
                pause = pause or 0.02
                left = end - monotonic()
                if not self.may_repeat(service, generation, failed) or left <= 0:
                    raise self.failure(method, failed, seconds) from None
                if failed.code != "UNIMPLEMENTED":
                    sleep(min(pause, left))
                    pause = min(pause * 2, 0.25)
            else:
                self._settled.add(service)
                return answer

    def failure(self, method: str, failed: CallFailed, seconds: float | None = None) -> Exception:
        """What a failed call means; `seconds` is how long was waited. Raises what is wrong with TLS, where that is to blame."""
        if failed.lost and self.address.host:
            self.explain(failed, last=True)
        return failure(self.origin, method, failed, self.deadline if seconds is None else seconds)

    @property
    def encrypted(self) -> bool:
        """Whether there is TLS between us and the server."""
        return self.address.scheme in ("grpc+https", "tvix+tls")

    def explain(self, failed: CallFailed, *, last: bool = False) -> None:
        """A connection that is lost may say little: raises why the two ends don't accept each other, where they don't.

        `last` says that nothing else is tried, so that a likely reason is better than none.
        """
        if not failed.lost or failed.closed:
            return
        from tvix.castore.tls import diagnose

        error = diagnose(self.address, failed.details, last=last)
        if error is not None:
            raise error

    def may_repeat(self, service: str, generation: int, failed: CallFailed) -> bool:
        """Whether the same call may fare better: the server was away or too busy, or knows the service by its other name.

        `generation` is what it was called by. Where others have called it by another name meanwhile, that one is tried too.
        """
        if failed.closed:
            return False
        if failed.code == "UNIMPLEMENTED":
            with self._generation_lock:
                if service.startswith(_OURS):
                    return False
                if generation != self.generation(service):
                    return True
                if service in self._settled:
                    return False
                self._generations[service] = (generation + 1) % len(_GENERATIONS)
                return self._generations[service] != 0
        if failed.code == "NOT_FOUND":
            self._settled.add(service)
        return failed.lost or failed.busy

    def generation(self, service: str) -> int:
        """Which of its names a service is called by now."""
        return self._generations.get(service, 0)

    def settle(self, service: str) -> None:
        """The service is known by the name it was called by."""
        self._settled.add(service)

    def offers(self, feature: str) -> bool:
        """Whether the server speaks the extension protocol, and this of it."""
        description = self._describe()
        return description is not None and feature in description.features

    @property
    def extended(self) -> bool:
        """Whether the server speaks the extension protocol at all."""
        return self._describe() is not None

    def flush(self) -> None:
        """See `before_references`."""
        for call in self.before_references:
            call()

    def _describe(self) -> Description | None:
        if not self._asked:
            try:
                self._description = decode_description(self.unary(TRANSFER, "Describe", b"") or b"")
            except StoreFailed as error:
                if error.fields.get("status") != "UNIMPLEMENTED":
                    raise
            self._asked = True
        return self._description

    def _path(self, service: str, method: str) -> str:
        if service.startswith(_OURS):
            return f"/{service}/{method}"
        return f"/{_GENERATIONS[self.generation(service)]}.{service}/{method}"


def open_channel(address: Address) -> Channel:
    """A channel to the server at an address. Raises `InvalidStoreUrl` for a deadline that is none.

    Nothing is connected before the first call, and gRPC isn't imported either.
    """
    deadline = address.seconds("deadline", DEADLINE)
    distant = bool(address.host) and not _is_loopback(address.host)
    if address.scheme.startswith("tvix+"):
        from tvix.castore.framed_channel import FramedChannel

        return FramedChannel(address, deadline, distant=distant)
    from tvix.castore.grpc_channel import GrpcChannel

    return GrpcChannel(address, deadline, distant=distant)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
