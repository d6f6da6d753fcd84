"""The table of what a server offers, which says nothing of how calls come in: gRPC and the framed protocol both serve it.

A method is a function on encoded messages. By its kind it takes one request or an iterator of requests, gives one answer or an
iterator of answers, and is told who calls:

    UNARY        function(request: bytes, caller) -> Answer
    STREAM_OUT   function(request: bytes, caller) -> Iterator[Answer]
    STREAM_IN    function(requests: Iterator[bytes], caller) -> Answer
    BOTH_WAYS    function(requests: Iterator[bytes], caller) -> Iterator[Answer]

Each call has a thread of its own. In a `BOTH_WAYS` method the iterator of requests may be read by another thread than the one that
is asked for answers; it raises `CallerGone` where the caller went away, and ends where the caller has no more to say. Answers are
asked for as fast as the caller takes them; the iterator of answers is closed when the call ends, however it ends. A function raises
`TvixError`s, which become statuses (`tvix.grpc_api.status`). It isn't called for a caller who may not
(`tvix.grpc_api.authorisation`).

A room adds its methods by giving `Method`s to `MethodTable` (see `tvix.grpc_api.server`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from tvix.castore.blobs.interface import Buffer
from tvix.grpc_api.caller import Caller

UNARY, STREAM_OUT, STREAM_IN, BOTH_WAYS = "unary", "stream out", "stream in", "both ways"

Answer: TypeAlias = bytes | Sequence[Buffer]
"""One message: in one piece, or in several that needn't be joined where the transport can gather them."""

GENERATIONS = ("tvix", "snix")


class Method(NamedTuple):
    """`service` is a full name, or one that lacks its generation (`castore.v1.BlobService`) and is then offered under both."""

    service: str
    name: str
    kind: str
    function: Callable[[Any, Caller], Any]
    needs_write: bool = False

    @property
    def services(self) -> tuple[str, ...]:
        """The full names of the service."""
        if self.service.startswith("tvix_appliance."):
            return (self.service,)
        return tuple(f"{generation}.{self.service}" for generation in GENERATIONS)


class MethodTable:
    """All methods of a server by their paths, `/package.Service/Method`."""

    def __init__(self, methods: Iterable[Method] = ()) -> None:
        self._by_path: dict[str, Method] = {}
        self._services: dict[str, None] = {}
        self.add(methods)

    def add(self, methods: Iterable[Method]) -> None:
        """Offer more. To be called before a server serves."""
        for method in methods:
            for service in method.services:
                self._by_path[f"/{service}/{method.name}"] = method
                self._services[service] = None

    def get(self, path: str) -> Method | None:
        """The method of this name, if there is one."""
        return self._by_path.get(path)

    def __iter__(self) -> Iterator[tuple[str, Method]]:
        return iter(self._by_path.items())

    @property
    def services(self) -> tuple[str, ...]:
        """The full names of all services."""
        return tuple(self._services)


def joined(answer: Answer) -> bytes:
    """An answer in one piece."""
    return answer if isinstance(answer, bytes) else b"".join(answer)
