"""The table of methods over gRPC: raw bytes in and out, threads for each kind of call, an end for streams that stand still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from tvix.castore.grpc_channel import REQUEST_ID_KEY
from tvix.castore.grpc_errors import ERROR_FIELDS_KEY, ERROR_KEY
from tvix.castore.grpc_import import Foreign
from tvix.castore.grpc_watch import Watch, Watchdog
from tvix.castore.transfer.framing import Status
from tvix.errors import TvixError
from tvix.grpc_api.authorisation import authorise
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.identity import caller_of_context
from tvix.grpc_api.load import BoundedPool, Limits, TooManyCalls, refusal
from tvix.grpc_api.methods import BOTH_WAYS, STREAM_IN, UNARY, Method, MethodTable, joined
from tvix.grpc_api.standard import THREADS, WAITING, StandardServices
from tvix.grpc_api.status import CallerGone, Failures, Unsupported, status_of

if TYPE_CHECKING:
    from tvix.castore.credentials import ServerTls

_IDLE_MAX = 1e7
"""Seconds that a long stream may be idle: as good as for ever."""


class GrpcThreads:
    """What all gRPC servers of a process share: threads and watchdogs."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.calls = BoundedPool(limits.call_threads, limits.calls_waiting, "calls")
        self.streams = BoundedPool(limits.stream_threads, limits.streams_waiting, "streams")
        self.long_streams = BoundedPool(limits.long_streams, 0, "long-streams")
        self.refusals = ThreadPoolExecutor(4, "refusals")
        self.stalls = Watchdog(limits.stall)
        self.idle = Watchdog(_IDLE_MAX)

    def pool(self, method: Method) -> BoundedPool:
        """The threads for calls of a method."""
        if method.kind == BOTH_WAYS:
            return self.long_streams
        return self.calls if method.kind == UNARY else self.streams

    def end_waiting(self, seconds: float) -> None:
        """End streams that have waited for their callers so long."""
        self.stalls.expire_waiting(seconds)
        self.idle.expire_waiting(seconds)

    def close(self) -> None:
        """Let the threads go, once nothing runs on them."""
        for pool in (self.calls, self.streams, self.long_streams, self.refusals):
            pool.shutdown(wait=True)


class GrpcTransport:
    """One gRPC server, for addresses where callers have the same rights: those of `caller`, or what certificates say (`tls`)."""

    def __init__(
        self,
        table: MethodTable,
        threads: GrpcThreads,
        failures: Failures,
        *,
        caller: Caller | None,
        tls: ServerTls | None,
        read_only: bool,
        reuse_port: bool = False,
    ) -> None:
        limits = threads.limits
        options = [
            ("grpc.so_reuseport", int(reuse_port)),  # two servers on one port answer by turns: only where that is meant
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.max_concurrent_streams", limits.streams_per_connection),
            # A caller that vanished is noticed, and callers may ask as often whether we have.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ]
        self.server = grpc.server(threads.calls, options=options, maximum_concurrent_rpcs=limits.calls)
        self.tls = tls
        methods = _Methods(table, threads, failures, caller, tls.site if tls else "", read_only)
        self.standard = StandardServices(table.services, methods.admit, methods.standard_busy, threads.stalls, limits.question)
        self.server.add_generic_rpc_handlers((methods, self.standard))


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds the handler of a call, or one that refuses where there is no room; runs on the server's own thread."""

    def __init__(
        self, table: MethodTable, threads: GrpcThreads, failures: Failures, caller: Caller | None, site: str, read_only: bool
    ) -> None:
        self._threads = threads
        self._failures = failures
        self._caller = caller
        self._site = site
        self._read_only = read_only
        self._handlers = {path: (threads.pool(method), self._handler(method), self._refusal(method)) for path, method in table}

    def service(self, handler_call_details: Foreign) -> Foreign:
        """See `grpc.GenericRpcHandler`."""
        found = self._handlers.get(handler_call_details.method)
        if found is None:
            return None
        pool, handler, refuses = found
        return refuses if pool.full else handler

    def admit(self, context: Foreign) -> None:
        """Abort a call of a standard service by those whose certificate gives them no rights: all others may make it."""
        try:
            self._caller_of(context)
        except TvixError as error:
            self._refuse(context, error)

    @property
    def standard_busy(self) -> Foreign:
        """A handler for calls of standard services that have no room."""

        def refuse() -> NoReturn:
            raise TooManyCalls(what="calls of this service", limit=THREADS, waiting=WAITING)

        return self._refuses(refuse)

    def _handler(self, method: Method) -> Foreign:
        if self._caller is not None and method.needs_write and not self._caller.may_write:
            return self._refuses(lambda: authorise(method, self._caller_of(None), read_only=self._read_only))
        if method.kind == UNARY:
            return grpc.stream_unary_rpc_method_handler(self._answers(method))
        if method.kind == STREAM_IN:
            return grpc.stream_unary_rpc_method_handler(self._takes_stream(method))
        return grpc.stream_stream_rpc_method_handler(self._gives_stream(method))

    def _refusal(self, method: Method) -> Foreign:
        def refuse() -> NoReturn:
            raise refusal(method, self._threads.limits)

        return self._refuses(refuse)

    def _refuses(self, check: Callable[[], None]) -> Foreign:
        """A handler that doesn't read what it is sent."""

        def answer(_requests: Foreign, context: Foreign) -> bytes:
            try:
                check()
            except Exception as error:
                self._abort(context, status_of(error))
            raise AssertionError("a refusal that didn't refuse")

        answer.experimental_thread_pool = self._threads.refusals  # type: ignore[attr-defined]
        return grpc.stream_unary_rpc_method_handler(answer)

    def _answers(self, method: Method) -> Callable[[Iterator[bytes], Any], bytes]:
        """For one request and one answer. gRPC is told of a stream of requests, since it would wait for the one without end."""

        def answer(requests: Iterator[bytes], context: Foreign) -> bytes:
            try:
                request = self._one(method, requests, context)
                return joined(method.function(request, self._allowed(method, context)))
            except Exception as error:
                self._refuse(context, error)

        return answer

    def _one(self, method: Method, requests: Iterator[bytes], context: Foreign) -> bytes:
        with self._threads.stalls.watch(context.cancel) as watch:
            watch.begin(monotonic() + self._threads.limits.patience(method))
            request = next(requests, None)
            if request is None:
                if watch.expired or not context.is_active():
                    raise CallerGone
                raise Unsupported(what=f"{method.name} takes one message, and none was sent")
            return request

    def _takes_stream(self, method: Method) -> Callable[[Iterator[bytes], Any], bytes]:
        def answer(requests: Iterator[bytes], context: Foreign) -> bytes:
            with self._threads.stalls.watch(context.cancel) as watch:
                try:
                    caller = self._allowed(method, context)
                    return joined(method.function(_watched(requests, watch, context), caller))
                except Exception as error:
                    self._refuse(context, error)

        answer.experimental_thread_pool = self._threads.streams  # type: ignore[attr-defined]
        return answer

    def _gives_stream(self, method: Method) -> Callable[[Iterator[bytes], Any], Iterator[bytes]]:
        threads = self._threads

        def answer(requests: Iterator[bytes], context: Foreign) -> Iterator[bytes]:
            with ExitStack() as stack:
                watch = stack.enter_context(threads.stalls.watch(context.cancel))
                idle = None
                request: bytes | Iterator[bytes]
                if method.kind == BOTH_WAYS:
                    idle = stack.enter_context(threads.idle.watch(context.cancel))
                    idle.begin()
                    request = _noticed(requests, idle, context)
                try:
                    if method.kind != BOTH_WAYS:
                        request = self._one(method, requests, context)
                    for message in method.function(request, self._allowed(method, context)):
                        watch.begin()
                        yield joined(message)
                        watch.end()
                        if idle is not None:
                            idle.begin()
                except Exception as error:
                    self._refuse(context, error)

        answer.experimental_thread_pool = threads.pool(method)  # type: ignore[attr-defined]
        return answer

    def _allowed(self, method: Method, context: Foreign) -> Caller:
        caller = self._caller_of(context)
        authorise(method, caller, read_only=self._read_only)
        return caller

    def _caller_of(self, context: Foreign) -> Caller:
        caller = self._caller or caller_of_context(context, self._site)
        return caller._replace(may_write=False) if self._read_only else caller

    def _refuse(self, context: Foreign, error: Exception) -> NoReturn:
        if isinstance(error, grpc.RpcError) or not context.is_active():
            raise error  # the caller has gone: nobody is left to answer
        request = dict(context.invocation_metadata()).get(REQUEST_ID_KEY, "")
        self._abort(context, self._failures.status(error, peer=context.peer(), request=str(request)))

    def _abort(self, context: Foreign, status: Status) -> NoReturn:
        if status.identifier:
            trailers = [(ERROR_KEY, status.identifier)]
            if status.fields:
                trailers.append((ERROR_FIELDS_KEY, status.fields))
            context.set_trailing_metadata(trailers)
        context.abort(grpc.StatusCode[status.code], status.details)
        raise AssertionError("abort returned")


def _watched(requests: Iterator[bytes], watch: Watch, context: Foreign) -> Iterator[bytes]:
    """What a caller sends. Raises `CallerGone` where it went away.

    gRPC may end the requests of a caller that went away as if they were complete, and say a moment later that it has gone. A blob
    or directory stored in that moment is a valid one that nobody asked for.
    """
    watch.begin()
    for request in requests:
        watch.end()
        yield request
        watch.begin()
    watch.end()
    if watch.expired or not context.is_active():
        raise CallerGone


def _noticed(requests: Iterator[bytes], idle: Watch, context: Foreign) -> Iterator[bytes]:
    """What is asked in a long stream, which may be idle in between."""
    try:
        for request in requests:
            idle.begin()
            yield request
    except grpc.RpcError:
        raise CallerGone from None
    if not context.is_active():
        raise CallerGone
