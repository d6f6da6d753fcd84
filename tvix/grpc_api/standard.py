"""The two services that every gRPC server is asked for: health and reflection.

They need generated code and descriptors, which cost more to import than the rest of the server, so they are made when somebody
first calls them. Each runs on threads of its own: whether a server is well can be asked while all others are busy, and streams of
reflection that stand still hold up nobody else. Callers are looked at as for every other method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from importlib import import_module
from time import monotonic
from typing import Any

import grpc

from tvix.castore.grpc_import import Foreign
from tvix.castore.grpc_watch import Watchdog
from tvix.grpc_api.load import BoundedPool

_HEALTH = "grpc.health.v1.Health"
_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
_REFLECTION_V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
_DESCRIPTORS = (
    "tvix_castore_v1",
    "tvix_store_v1",
    "snix_castore_v1",
    "snix_store_v1",
    "tvix_appliance_castore_v1",
    "tvix_appliance_store_v1",
)
THREADS, WAITING = 4, 256
"""Of each service."""


class StandardServices(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Health, and reflection under both of its names, for a server of `services`.

    `admit` is called first in every call, and aborts it for those who have no rights. `busy` answers where there is no room.
    `stalls` ends calls whose caller says nothing, after `question` seconds where one message is all that is awaited.
    """

    def __init__(
        self, services: Sequence[str], admit: Callable[[Foreign], None], busy: Foreign, stalls: Watchdog, question: float
    ) -> None:
        self._services = (*services, _HEALTH, _REFLECTION_V1ALPHA, _REFLECTION_V1)
        self._admit = admit
        self._busy = busy
        self._stalls = stalls
        self._question = question
        self._health_pool = BoundedPool(THREADS, WAITING, "health")
        self._reflection_pool = BoundedPool(THREADS, WAITING, "reflection")
        self._serving = True
        self._health: Foreign = None
        self._handlers: dict[str, Any] = {}

    def service(self, handler_call_details: Foreign) -> Foreign:
        """The handler of a method, as `grpc.GenericRpcHandler` wants it."""
        service = handler_call_details.method.rpartition("/")[0][1:]
        if service not in (_HEALTH, _REFLECTION_V1, _REFLECTION_V1ALPHA):
            return None
        if (self._health_pool if service == _HEALTH else self._reflection_pool).full:
            return self._busy
        if service not in self._handlers:
            self._handlers[service] = self._make_health() if service == _HEALTH else self._make_reflection(service)
        return self._handlers[service].service(handler_call_details)

    def stop(self) -> None:
        """Answer from now on that nothing is served here."""
        self._serving = False
        if self._health is not None:
            self._health.enter_graceful_shutdown()

    def close(self) -> None:
        """Let the threads go."""
        self._health_pool.shutdown(wait=False)
        self._reflection_pool.shutdown(wait=False)

    def _make_health(self) -> Foreign:
        from grpc_health.v1 import health, health_pb2

        self._health = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._health_pool)
        for name in ("", *self._services):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        if not self._serving:
            self._health.enter_graceful_shutdown()
        codecs = (health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString)
        check = grpc.stream_unary_rpc_method_handler(self._asked_once(self._health.Check), *codecs)
        watch = grpc.stream_stream_rpc_method_handler(self._asked_once(self._health.Watch), *codecs)
        return grpc.method_handlers_generic_handler(_HEALTH, {"Check": check, "Watch": watch})

    def _make_reflection(self, service: str) -> Foreign:
        from grpc_reflection.v1alpha import reflection, reflection_pb2

        for name in _DESCRIPTORS:
            import_module(f"tvix.proto.{name}_pb2")
        servicer = reflection.ReflectionServicer(self._services)

        def answer(requests: Foreign, context: Foreign) -> Iterator[Foreign]:
            self._admit(context)
            with self._stalls.watch(context.cancel) as watch:
                watch.begin()
                for response in servicer.ServerReflectionInfo(requests, context):
                    watch.begin()
                    yield response
                    watch.begin()

        answer.experimental_thread_pool = self._reflection_pool  # type: ignore[attr-defined]
        # The later name came with no other change: the messages are the same on the wire.
        method = grpc.stream_stream_rpc_method_handler(
            answer,
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": method})

    def _asked_once(self, behaviour: Foreign) -> Foreign:
        """A method of the health service. As elsewhere, gRPC is told of a stream of requests: it would wait without end for one."""

        @wraps(behaviour)  # with what it says of itself to gRPC: that it doesn't block
        def answer(requests: Foreign, context: Foreign, *more: Foreign) -> Foreign:
            self._admit(context)
            with self._stalls.watch(context.cancel) as watch:
                watch.begin(monotonic() + self._question)
                request = next(requests, None)
            if request is None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, "health is asked for with one message, and none was sent")
            return behaviour(request, context, *more)

        answer.experimental_thread_pool = self._health_pool  # type: ignore[attr-defined]
        return answer
