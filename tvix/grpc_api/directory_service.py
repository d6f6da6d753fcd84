"""The published DirectoryService over any directory service."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tvix.castore.digests import Digest, print_digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directory import Directory, InvalidDirectory
from tvix.castore.grpc_messages import digest_and_flag, encode_digest
from tvix.castore.protobuf import MalformedMessage, fields
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.methods import STREAM_IN, STREAM_OUT, Method
from tvix.grpc_api.status import NotHere, Unsupported

_SERVICE = "castore.v1.DirectoryService"


class DirectoryMethods:
    """`Get` and `Put` as functions from encoded requests to encoded answers; `sync` makes directories durable."""

    def __init__(self, directories: DirectoryService, sync: Callable[[], None]) -> None:
        self._directories = directories
        self._sync = sync

    def methods(self) -> Iterator[Method]:
        """Their rows of the table."""
        yield Method(_SERVICE, "Get", STREAM_OUT, self.get)
        yield Method(_SERVICE, "Put", STREAM_IN, self.put, needs_write=True)

    def get(self, request: bytes, _caller: Caller) -> Iterator[bytes]:
        """One directory or, recursively, a closure, empty where the root is not here. Raises `NotHere`, `InvalidDigest`."""
        _check_by_what(request)
        digest, recursive = digest_and_flag(request, "GetDirectoryRequest")
        if recursive:
            for directory in self._directories.closure(digest):
                yield directory.encoded
            return
        found = self._directories.get_many((digest,)).get(digest)
        if found is None:
            raise NotHere(kind="directory", name=print_digest(digest))
        yield found.encoded

    def put(self, requests: Iterator[bytes], _caller: Caller) -> bytes:
        """Durable when this returns. Raises what `DirectoryService.put` raises, `InvalidDirectory`, `MalformedMessage`."""
        try:
            root = self._directories.put(_connected(requests))
        except ValueError:
            raise MalformedMessage(what="stream of directories", reason="it is empty", offset=0) from None
        self._sync()
        return encode_digest(root)


def _check_by_what(request: bytes) -> None:
    if not any(number == 1 for number, _value in fields(request, "GetDirectoryRequest")):
        raise Unsupported(what="a directory is asked for by its digest, and the request has none")


def _connected(requests: Iterator[bytes]) -> Iterator[Directory]:
    """The directories of a stream. Raises `InvalidDirectory` at its end where not all of them hang on the last."""
    loose: dict[Digest, None] = {}
    digest: Digest | None = None
    for request in requests:
        directory = Directory.decode(request)
        digest = directory.digest
        for child in directory.children():
            loose.pop(child.digest, None)
        loose[digest] = None
        yield directory
    loose.pop(digest, None) if digest is not None else None
    if loose:
        raise InvalidDirectory(
            reason=f"{print_digest(next(iter(loose)))} was sent but doesn't hang on the last directory, the root"
        )
