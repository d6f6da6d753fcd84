"""`tvix_appliance.store.v1.PathInfos` over any path info service: path infos by the hundred."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tvix.castore.protobuf import MalformedMessage, fields
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.methods import STREAM_OUT, UNARY, Method
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.path_info import PathInfo
from tvix.store.path_info_codec import decode_path_info, encode_path_info
from tvix.store.path_infos.batch_messages import PATH_INFOS, decode_digests, encode_path_info_list
from tvix.store.path_infos.interface import PathInfoService

DIGESTS_MAX = 1 << 16
"""In one request."""
CLOSURE_MAX = 1 << 20
"""Store paths in one answer to `Closure`."""

_LIST_BYTES = 1 << 20
_BATCH = 1024


class PathInfosMethods:
    """`path_infos` checks what is put; `sync` makes it durable."""

    def __init__(self, path_infos: PathInfoService, sync: Callable[[], None], *, message_bytes: int) -> None:
        self._path_infos = path_infos
        self._sync = sync
        self._message_bytes = message_bytes

    def methods(self) -> Iterator[Method]:
        """For the table."""
        yield Method(PATH_INFOS, "GetMany", UNARY, self.get_many)
        yield Method(PATH_INFOS, "Closure", STREAM_OUT, self.closure)
        yield Method(PATH_INFOS, "PutMany", UNARY, self.put_many, needs_write=True)

    def get_many(self, request: bytes, _caller: Caller) -> bytes:
        """As many of those that are here as one message holds: who misses some asks for them again. Raises `MalformedMessage`."""
        digests = _digests(request)
        encoded: list[bytes] = []
        size = 0
        for start in range(0, len(digests), _BATCH):
            for info in self._path_infos.get_many(digests[start : start + _BATCH]).values():
                encoded.append(encode_path_info(info))
                size += len(encoded[-1])
                if size > self._message_bytes // 2:
                    return encode_path_info_list(encoded)
        return encode_path_info_list(encoded)

    def closure(self, request: bytes, _caller: Caller) -> Iterator[bytes]:
        """Each once, breadth first; what isn't here is left out. Raises `MalformedMessage`."""
        level = list(dict.fromkeys(_digests(request)))
        seen = set(level)
        while level:
            later: list[StorePathDigest] = []
            for start in range(0, len(level), _BATCH):
                found = self._path_infos.get_many(level[start : start + _BATCH]).values()
                yield from _lists(found)
                for info in found:
                    fresh = [path.digest for path in info.references if path.digest not in seen]
                    seen.update(fresh)
                    later += dict.fromkeys(fresh)
            if len(seen) > CLOSURE_MAX:
                raise MalformedMessage(what="PathInfoDigests", reason=f"the closure has over {CLOSURE_MAX} paths", offset=0)
            level = later

    def put_many(self, request: bytes, _caller: Caller) -> bytes:
        """All or none; durable when this returns. Raises `MalformedMessage`, `InvalidPathInfo`, what checking and storing raise."""
        infos: list[PathInfo] = []
        for number, value in fields(request, "PathInfoList"):
            if number == 1:
                if not isinstance(value, bytes):
                    raise MalformedMessage(what="PathInfoList", reason="a path info has the wrong type", offset=0)
                infos.append(decode_path_info(value))
        stored = self._path_infos.put_many(infos)
        self._sync()
        return encode_path_info_list([encode_path_info(info) for info in stored])


def _digests(request: bytes) -> Sequence[StorePathDigest]:
    digests = decode_digests(request)
    if len(digests) > DIGESTS_MAX:
        raise MalformedMessage(what="PathInfoDigests", reason=f"over {DIGESTS_MAX} digests", offset=0)
    return digests


def _lists(infos: Iterable[PathInfo]) -> Iterator[bytes]:
    encoded: list[bytes] = []
    size = 0
    for info in infos:
        encoded.append(encode_path_info(info))
        size += len(encoded[-1])
        if size > _LIST_BYTES:
            yield encode_path_info_list(encoded)
            encoded, size = [], 0
    if encoded:
        yield encode_path_info_list(encoded)
