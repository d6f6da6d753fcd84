"""The two services that every gRPC server is asked for: health and reflection.

They need generated code and descriptors, which cost more to import than the rest of the server, so they are made when somebody
first calls them. Both run on threads of their own: whether a server is well can be asked while all others are busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import grpc

from tvix.castore.grpc_import import Foreign

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


class StandardServices(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Health, and reflection under both of its names, for a server of `services`."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = (*services, _HEALTH, _REFLECTION_V1ALPHA, _REFLECTION_V1)
        self._pool = ThreadPoolExecutor(4, "standard")
        self._serving = True
        self._health: Foreign = None
        self._handlers: dict[str, Any] = {}

    def service(self, handler_call_details: Foreign) -> Foreign:
        """The handler of a method, as `grpc.GenericRpcHandler` wants it."""
        service = handler_call_details.method.rpartition("/")[0][1:]
        if service not in (_HEALTH, _REFLECTION_V1, _REFLECTION_V1ALPHA):
            return None
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
        self._pool.shutdown(wait=False)

    def _make_health(self) -> Foreign:
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc

        self._health = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._pool)
        for name in ("", *self._services):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        if not self._serving:
            self._health.enter_graceful_shutdown()
        collected = _Collected()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, collected)
        return collected.handler

    def _make_reflection(self, service: str) -> Foreign:
        from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

        for name in _DESCRIPTORS:
            import_module(f"tvix.proto.{name}_pb2")
        servicer = reflection.ReflectionServicer(self._services)
        if service == _REFLECTION_V1ALPHA:
            collected = _Collected()
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, collected)
            return collected.handler
        # The later name came with no other change: the messages are the same on the wire.
        method = grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": method})


class _Collected:
    """Takes a server's place where generated code registers its handlers."""

    handler: Foreign = None

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Keep the one there is."""
        (self.handler,) = handlers

    def add_registered_method_handlers(self, service: str, handlers: Foreign) -> None:
        """The same methods once more, in another form."""
