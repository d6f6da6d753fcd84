"""A way to a store server by gRPC.

The gRPC channel is made by the first call. A process must not fork after that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from os import getpid, urandom
from threading import Lock
from typing import Any

from tvix.castore.addresses import Address
from tvix.castore.grpc_calls import GrpcPending, GrpcSending, GrpcStream, checked_answer
from tvix.castore.grpc_errors import call_failed
from tvix.castore.grpc_import import Foreign, import_grpc
from tvix.castore.grpc_watch import Watchdog
from tvix.castore.remote_channel import DEADLINE, Channel
from tvix.castore.remote_errors import CallFailed

REQUEST_ID_KEY = "tvix-request-id"

_MESSAGE_BYTES_MAX = 16 << 20
_OPTIONS = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.enable_retries", 0),  # they are made by `Channel`
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


class GrpcChannel(Channel):
    """See `Channel`. A stream that is known to have one message is best asked for or sent as `unary`: it is the same on the wire,
    and half the work."""

    def __init__(self, address: Address, deadline: float = DEADLINE, *, distant: bool = False) -> None:
        super().__init__(address, deadline, distant=distant)
        self.watchdog = Watchdog(deadline)
        self._target = _target(address)
        self._lock = Lock()
        self._channel: Foreign = None
        self._process = 0
        self._methods: dict[tuple[str, str], Any] = {}
        self._prefix = urandom(4).hex()
        self._numbers = count(1)
        self._closed = False
        self._shown: tuple[object, ...] = ()

    def _call(self, path: str, request: bytes, seconds: float) -> bytes:
        try:
            return checked_answer(self._method("unary_unary", path)(request, timeout=seconds, metadata=self._metadata()))
        except import_grpc().RpcError as error:
            raise call_failed(error) from None

    def _start(self, path: str, request: bytes) -> GrpcPending:
        call = self._method("unary_unary", path)
        return GrpcPending(call.future(request, timeout=self.deadline, metadata=self._metadata()))

    def _start_stream(self, path: str, request: bytes) -> GrpcStream:
        return GrpcStream(self._method("unary_stream", path)(request, metadata=self._metadata()), self.watchdog)

    def _start_send(self, path: str) -> GrpcSending:
        return GrpcSending(self._method("stream_unary", path), self._metadata(), self.watchdog)

    def _send_all(self, path: str, messages: Iterable[bytes]) -> bytes:
        return GrpcSending(self._method("stream_unary", path), self._metadata(), self.watchdog, messages).finish()

    def duplex(self, path: str, requests: Iterator[bytes]) -> Foreign:
        """A call with messages both ways, as long as it lasts: no deadline, and gRPC's own errors."""
        return self._method("stream_stream", path)(requests, metadata=self._metadata())

    def close(self) -> None:
        """See `Channel`."""
        with self._lock:
            self._closed = True
            if self._channel is not None:
                self._channel.close()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call: an id that the server's log will name."""
        return ((REQUEST_ID_KEY, f"{self._prefix}-{next(self._numbers):x}"),)

    def _method(self, kind: str, path: str) -> Foreign:
        found = self._methods.get((kind, path))
        if found is None or self._process != getpid():
            found = self._methods[kind, path] = getattr(self._connected(), kind)(path)
        return found

    def _connected(self) -> Foreign:
        with self._lock:
            if self._closed:
                raise ValueError(f"{self.origin} is closed")
            if self._channel is None:
                self._process = getpid()
                self._channel = self._connect()
            if self._process != getpid():
                raise AssertionError(f"the channel to {self.origin} was made before this process was forked, and would hang here")
            return self._channel

    def _connect(self) -> Foreign:
        grpc = import_grpc()
        if not self.encrypted:
            return grpc.insecure_channel(self._target, options=_OPTIONS)
        from tvix.castore.credentials import files_of
        from tvix.castore.tls import credentials_of

        self._shown = files_of(self.address).stamp()
        return grpc.secure_channel(self._target, credentials_of(self.address).grpc_channel_credentials(grpc), options=_OPTIONS)

    def explain(self, failed: CallFailed, *, last: bool = False) -> None:
        """See `Channel`. A gRPC channel shows what it was made with: where that was renewed, the next call makes another.

        The old one isn't closed: it ends with the calls that are still on it.
        """
        if self.encrypted and failed.lost and not failed.closed:
            from tvix.castore.credentials import files_of

            with self._lock:
                if self._channel is not None and self._shown != files_of(self.address).stamp():
                    self._channel = None
                    self._methods.clear()
                    return
        super().explain(failed, last=last)


def _target(address: Address) -> str:
    """What gRPC connects to."""
    if address.path:
        from urllib.parse import quote

        return "unix:" + quote(address.path, errors="surrogateescape")
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"dns:///{host}:{address.port}"
