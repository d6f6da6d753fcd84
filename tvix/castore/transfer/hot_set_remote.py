"""Hot sets that a store server keeps."""

from __future__ import annotations

from tvix.castore.digests import Digest
from tvix.castore.remote_channel import TRANSFER, Channel
from tvix.castore.remote_errors import StoreFailed
from tvix.castore.transfer.hot_set import check_hot_set, decode_keys
from tvix.castore.transfer.messages import ANNOUNCEMENT, Ask, decode_frame, encode_ask


class RemoteHotSetService:
    """A `HotSetService`. A server that keeps none, or takes none from this caller, is no error: a hot set is a hint."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def get_hot_set(self, root: Digest, profile: str) -> bytes | None:
        """See `HotSetService`. What it names is announced, and not waited for."""
        if not self._channel.offers("push"):
            return None
        incoming = self._channel.stream(TRANSFER, "Fetch", encode_ask(Ask(root=root, push=True, profile=profile)))
        try:
            message = incoming.next()
            if message is not None:
                frame = decode_frame(message)
                if frame.kind == ANNOUNCEMENT and frame.root == root:
                    decode_keys(frame.payload)
                    return bytes(frame.payload) or None
            raise StoreFailed(origin=self._channel.origin, method="Fetch", reason="it doesn't announce the hot set asked for")
        finally:
            incoming.cancel()

    def put_hot_set(self, root: Digest, profile: str, keys: bytes) -> None:
        """See `HotSetService`."""
        check_hot_set(profile, keys)
        if not self._channel.offers("record"):
            return
        incoming = self._channel.stream(TRANSFER, "Fetch", encode_ask(Ask(root=root, profile=profile, record=keys)))
        try:
            while incoming.next() is not None:
                pass
        finally:
            incoming.cancel()
