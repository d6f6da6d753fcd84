"""The messages of `tvix_appliance.store.v1.PathInfos` as bytes: PathInfoDigests and PathInfoList.

Whatever decodes raises `MalformedMessage`; path infos themselves are decoded by `tvix.store.path_info_codec`.
"""

from __future__ import annotations

from collections.abc import Iterable

from tvix.castore.protobuf import MalformedMessage, bytes_field, fields, message_field
from tvix.castore.transfer.messages import split_digests
from tvix.nix_compat.store_path import StorePathDigest

PATH_INFOS = "tvix_appliance.store.v1.PathInfos"
CLOSURE_ROOTS = "tvix_appliance.store.v1.ClosureRoots"

_DIGEST_BYTES = 20


def encode_digests(digests: Iterable[StorePathDigest]) -> bytes:
    """A PathInfoDigests."""
    return bytes_field(1, b"".join(digests))


def decode_digests(message: bytes) -> list[StorePathDigest]:
    """A PathInfoDigests."""
    what = "PathInfoDigests"
    return [StorePathDigest(bytes(digest)) for part in _parts(message, what) for digest in split_digests(part, what, _DIGEST_BYTES)]


def encode_path_info_list(encoded: Iterable[bytes]) -> bytes:
    """A PathInfoList of encoded path infos."""
    return b"".join(message_field(1, info) for info in encoded)


def decode_path_info_list(message: bytes) -> list[bytes]:
    """The encoded path infos of a PathInfoList."""
    return _parts(message, "PathInfoList")


def _parts(message: bytes, what: str) -> list[bytes]:
    parts = []
    for number, value in fields(message, what):
        if number == 1:
            if not isinstance(value, bytes):
                raise MalformedMessage(what=what, reason="field 1 has the wrong type", offset=0)
            parts.append(value)
    return parts
