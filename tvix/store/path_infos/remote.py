"""Path infos in a store server that speaks the published protocol, under either of its names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from tvix.castore.entry import encode_entry
from tvix.castore.nodes import Node
from tvix.castore.protobuf import bytes_field, fields
from tvix.castore.remote_channel import PATH_INFOS, Channel
from tvix.castore.remote_errors import Absent, StoreFailed, StoreRefused
from tvix.errors import TvixError
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.path_info import PathInfo
from tvix.store.path_info_codec import InvalidPathInfo, decode_path_info, encode_path_info
from tvix.store.path_infos.interface import NarSummary

_SHA256_BYTES = 32


class RemotePathInfoService:
    """A `PathInfoService`. The server checks what it is sent and calculates NARs."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def get_many(self, digests: Collection[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        """See `PathInfoService`: one call each, many at a time. Raises `InvalidPathInfo`."""
        wanted = list(dict.fromkeys(digests))
        answers = self._channel.unary_many(PATH_INFOS, "Get", [bytes_field(1, digest) for digest in wanted])
        found: dict[StorePathDigest, PathInfo] = {}
        for digest, answer in zip(wanted, answers, strict=True):
            if answer is not None:
                info = found[digest] = decode_path_info(answer)
                if info.path.digest != digest:
                    raise InvalidPathInfo(path=info.path, reason=f"{self._channel.origin} sent it for another path")
        return found

    def put_many(self, infos: Iterable[PathInfo]) -> list[PathInfo]:
        """See `PathInfoService`; durable when this returns. Those before one that is refused are stored.

        Raises what the server's checks raise: `ConflictingPathInfo`, `IncompleteRoot`, `WrongNarHash`, `WrongNarSize`,
        `WrongContentAddress`, `WrongStorePath`.
        """
        self._channel.flush()
        return [self._put(info) for info in infos]

    def list(self) -> Iterator[PathInfo]:
        """See `PathInfoService`."""
        incoming = self._channel.stream(PATH_INFOS, "List", b"")
        try:
            while (message := incoming.next()) is not None:
                yield decode_path_info(bytes(message))
        except Absent:
            return
        finally:
            incoming.cancel()

    def calculate_nar(self, node: Node) -> NarSummary:
        """See `PathInfoService`. Raises `IncompleteRoot`."""
        self._channel.flush()
        try:
            answer = self._channel.unary(PATH_INFOS, "CalculateNAR", encode_entry(b"", node), patient=True)
        except StoreRefused as error:
            raise _as_ours(error) from None
        size = 0
        sha256 = b""
        for number, value in fields(answer or b"", "CalculateNARResponse"):
            if number == 1 and isinstance(value, int):
                size = value
            elif number == 2 and isinstance(value, bytes):
                sha256 = value
        if len(sha256) != _SHA256_BYTES:
            raise StoreFailed(origin=self._channel.origin, method="CalculateNAR", reason="the answer has no hash")
        return NarSummary(size, sha256)

    def sync(self) -> None:
        """The server made everything durable before it answered."""

    def close(self) -> None:
        """End the channel."""
        self._channel.close()

    def _put(self, info: PathInfo) -> PathInfo:
        try:
            answer = self._channel.unary(PATH_INFOS, "Put", encode_path_info(info), patient=True)
        except (StoreRefused, StoreFailed) as error:
            raise _as_ours(error) from None
        stored = decode_path_info(answer or b"")
        if (stored.path, stored.node) != (info.path, info.node):
            raise InvalidPathInfo(path=info.path, reason=f"{self._channel.origin} answered with another one")
        return stored


def _as_ours(error: StoreRefused | StoreFailed) -> TvixError:
    """The error that the server had, where its class is known here."""
    from tvix.store.completeness import IncompleteRoot
    from tvix.store.content_addressing import WrongContentAddress, WrongStorePath
    from tvix.store.path_infos.checking import WrongNarHash, WrongNarSize
    from tvix.store.path_infos.merge import ConflictingPathInfo

    checks = (ConflictingPathInfo, IncompleteRoot, WrongNarHash, WrongNarSize, WrongContentAddress, WrongStorePath)
    kind = {known.identifier: known for known in checks}.get(error.remote_identifier)
    try:
        return kind(**error.remote_fields) if kind is not None else error
    except KeyError:
        return error
