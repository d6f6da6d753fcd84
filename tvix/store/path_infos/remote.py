"""Path infos in a store server: one of ours, by the hundred, or any that speaks the published protocol."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from tvix.castore.blobs.interface import Buffer, StoreUnavailable
from tvix.castore.entry import encode_entry
from tvix.castore.nodes import Node
from tvix.castore.protobuf import bytes_field, fields
from tvix.castore.remote_calls import Incoming
from tvix.castore.remote_channel import PATH_INFO_BATCHES, PATH_INFOS, Channel
from tvix.castore.remote_errors import Absent, StoreFailed, StoreRefused
from tvix.errors import TvixError
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.path_info import PathInfo
from tvix.store.path_info_codec import InvalidPathInfo, decode_path_info, encode_path_info
from tvix.store.path_infos.batch_messages import decode_path_info_list, encode_digests, encode_path_info_list
from tvix.store.path_infos.interface import NarSummary

_SHA256_BYTES = 32
_FEATURE = "path-infos"
_BATCH = 4096
_MESSAGE_BYTES = 2 << 20


class RemotePathInfoService:
    """A `PathInfoService`. The server checks what it is sent and calculates NARs."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def get_many(self, digests: Collection[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        """See `PathInfoService`: one call for a thousand, or one call each, many at a time. Raises `InvalidPathInfo`."""
        wanted = list(dict.fromkeys(digests))
        if len(wanted) > 1 and self._channel.offers(_FEATURE):
            return self._get_many(wanted)
        answers = self._channel.unary_many(PATH_INFOS, "Get", [bytes_field(1, digest) for digest in wanted])
        found: dict[StorePathDigest, PathInfo] = {}
        for digest, answer in zip(wanted, answers, strict=True):
            if answer is not None:
                info = found[digest] = decode_path_info(answer)
                if info.path.digest != digest:
                    raise InvalidPathInfo(path=info.path, reason=f"{self._channel.origin} sent it for another path")
        return found

    def put_many(self, infos: Iterable[PathInfo]) -> list[PathInfo]:
        """See `PathInfoService`; durable when this returns. Of servers of other kinds, those before one that is refused are stored.

        Raises what the server's checks raise: `ConflictingPathInfo`, `IncompleteRoot`, `WrongNarHash`, `WrongNarSize`,
        `WrongContentAddress`, `WrongStorePath`.
        """
        self._channel.flush()
        incoming = list(infos)
        if len(incoming) > 1 and self._channel.offers(_FEATURE):
            return self._put_many(incoming)
        return [self._put(info) for info in incoming]

    def closure(self, digests: Collection[StorePathDigest]) -> Iterator[PathInfo] | None:
        """See `ClosureService`: one call. What isn't asked for or referred to is an error, what is left out isn't noticed.

        Whether the server offers that isn't asked before, which would take as long as the answer.
        """
        incoming = self._channel.stream(PATH_INFO_BATCHES, "Closure", encode_digests(digests))
        try:
            first = incoming.next()
        except StoreFailed as error:
            if error.fields.get("status") == "UNIMPLEMENTED":
                return None
            raise
        return self._closure(digests, incoming, first)

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

    def _get_many(self, wanted: Sequence[StorePathDigest]) -> dict[StorePathDigest, PathInfo]:
        found: dict[StorePathDigest, PathInfo] = {}
        while wanted:
            part, wanted = wanted[:_BATCH], wanted[_BATCH:]
            while part:
                answer = self._channel.unary(PATH_INFO_BATCHES, "GetMany", encode_digests(part))
                got = [decode_path_info(encoded) for encoded in decode_path_info_list(answer or b"")]
                for info in got:
                    if info.path.digest not in part or info.path.digest in found:
                        raise InvalidPathInfo(path=info.path, reason=f"{self._channel.origin} sent it without being asked")
                    found[info.path.digest] = info
                # A server sends as many as one message holds: what is missing may be there.
                part = [digest for digest in part if digest not in found] if got else []
        return found

    def _closure(self, digests: Collection[StorePathDigest], incoming: Incoming, message: Buffer | None) -> Iterator[PathInfo]:
        """What is in `message` and those that follow; all of it anew, but for what was told, where the connection is lost."""
        told: set[StorePathDigest] = set()
        known = set(digests)
        while True:
            again = set(told)
            try:
                while message is not None:
                    infos = [decode_path_info(encoded) for encoded in decode_path_info_list(bytes(message))]
                    known.update(reference.digest for info in infos for reference in info.references)
                    for info in infos:
                        if info.path.digest in again:
                            again.discard(info.path.digest)
                            continue
                        if info.path.digest not in known or info.path.digest in told:
                            raise InvalidPathInfo(path=info.path, reason=f"{self._channel.origin} sent it without being asked")
                        told.add(info.path.digest)
                        yield info
                    message = incoming.next()
                return
            except StoreUnavailable:
                if not incoming.broken:
                    raise
            finally:
                incoming.cancel()
            incoming = self._channel.stream(PATH_INFO_BATCHES, "Closure", encode_digests(digests))
            message = incoming.next()

    def _put_many(self, infos: Sequence[PathInfo]) -> list[PathInfo]:
        stored: list[PathInfo] = []
        batch: list[bytes] = []
        size = 0
        for info in infos:
            encoded = encode_path_info(info)
            if batch and size + len(encoded) > _MESSAGE_BYTES:
                stored += self._put_batch(infos[len(stored) : len(stored) + len(batch)], batch)
                batch, size = [], 0
            batch.append(encoded)
            size += len(encoded)
        return stored + self._put_batch(infos[len(stored) :], batch)

    def _put_batch(self, infos: Sequence[PathInfo], encoded: Sequence[bytes]) -> list[PathInfo]:
        """All or none."""
        try:
            answer = self._channel.unary(PATH_INFO_BATCHES, "PutMany", encode_path_info_list(encoded), patient=True)
        except (StoreRefused, StoreFailed) as error:
            raise _as_ours(error) from None
        answered = decode_path_info_list(answer or b"")
        if len(answered) != len(infos):
            reason = f"it answers with {len(answered)} path infos to {len(infos)}"
            raise StoreFailed(origin=self._channel.origin, method="PutMany", reason=reason)
        return [self._stored(info, one) for info, one in zip(infos, answered, strict=True)]

    def _put(self, info: PathInfo) -> PathInfo:
        try:
            answer = self._channel.unary(PATH_INFOS, "Put", encode_path_info(info), patient=True)
        except (StoreRefused, StoreFailed) as error:
            raise _as_ours(error) from None
        return self._stored(info, answer or b"")

    def _stored(self, info: PathInfo, answer: bytes) -> PathInfo:
        stored = decode_path_info(answer)
        if (stored.path, stored.node) != (info.path, info.node):
            raise InvalidPathInfo(path=info.path, reason=f"{self._channel.origin} answered with another one")
        return stored

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
