"""The published PathInfoService over any path info service."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tvix.castore.entry import decode_entry
from tvix.castore.protobuf import MalformedMessage, bytes_field, fields, varint_field
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.methods import STREAM_OUT, UNARY, Method
from tvix.grpc_api.status import NotHere, Unsupported
from tvix.nix_compat.nixbase32 import encode
from tvix.nix_compat.store_path import store_path_digest
from tvix.store.path_info_codec import decode_path_info, encode_path_info
from tvix.store.path_infos.interface import PathInfoService

_SERVICE = "store.v1.PathInfoService"


class PathInfoMethods:
    """`Get`, `Put`, `CalculateNAR` and `List` as functions from encoded requests to encoded answers.

    `path_infos` checks what is put; `sync` makes path infos durable.
    """

    def __init__(self, path_infos: PathInfoService, sync: Callable[[], None]) -> None:
        self._path_infos = path_infos
        self._sync = sync

    def methods(self) -> Iterator[Method]:
        """Their rows of the table."""
        yield Method(_SERVICE, "Get", UNARY, self.get)
        yield Method(_SERVICE, "Put", UNARY, self.put, needs_write=True)
        yield Method(_SERVICE, "CalculateNAR", UNARY, self.calculate_nar)
        yield Method(_SERVICE, "List", STREAM_OUT, self.list)

    def get(self, request: bytes, _caller: Caller) -> bytes:
        """Raises `NotHere`, `Unsupported` where nothing is asked for, `InvalidStorePath` for a digest of the wrong length."""
        raw: bytes | None = None
        for number, value in fields(request, "GetPathInfoRequest"):
            if number == 1:
                if not isinstance(value, bytes):
                    raise MalformedMessage(what="GetPathInfoRequest", reason="field 1 has the wrong type", offset=0)
                raw = value
        if raw is None:
            raise Unsupported(what="a path info is asked for by the digest of its store path, and the request has none")
        digest = store_path_digest(raw)
        found = self._path_infos.get_many((digest,)).get(digest)
        if found is None:
            raise NotHere(kind="path info", name=encode(digest))
        return encode_path_info(found)

    def put(self, request: bytes, _caller: Caller) -> bytes:
        """Stored and durable when this returns. Raises `InvalidPathInfo`, and what checking and storing raise."""
        (stored,) = self._path_infos.put_many((decode_path_info(request),))
        self._sync()
        return encode_path_info(stored)

    def calculate_nar(self, request: bytes, _caller: Caller) -> bytes:
        """Raises `IncompleteRoot`, `MalformedMessage`, `InvalidDigest`."""
        _name, node = decode_entry(request)
        summary = self._path_infos.calculate_nar(node)
        return varint_field(1, summary.size) + bytes_field(2, summary.sha256)

    def list(self, _request: bytes, _caller: Caller) -> Iterator[bytes]:
        """Every path info."""
        for info in self._path_infos.list():
            yield encode_path_info(info)
