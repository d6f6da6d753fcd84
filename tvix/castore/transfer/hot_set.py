"""Hot sets: what a program read the last time, in the order of first use; and what stores keep of them.

A key names a blob, chunk or directory, or a range of a blob: the digest, the offset as 64 bits and the length as 32, little-endian;
length 0 is to the end. A hot set is a hint. A wrong one costs bytes and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple, Protocol, runtime_checkable

from tvix.castore.blobs.interface import Buffer
from tvix.castore.digests import Digest, digest_of
from tvix.castore.protobuf import MalformedMessage

_KEY = Struct("<32sQI")
KEY_BYTES = _KEY.size
KEYS_MAX = 32_768
"""Of a hot set; what comes behind is left out."""
PROFILE_BYTES_MAX = 512


class Key(NamedTuple):
    """A blob, chunk or directory, or `length` bytes of it from `offset` on; 0 is to the end."""

    digest: Digest
    offset: int = 0
    length: int = 0


def encode_keys(keys: Iterable[Key]) -> bytes:
    """One behind the other."""
    return b"".join(_KEY.pack(*key) for key in keys)


def decode_keys(packed: Buffer) -> Iterator[Key]:
    """From bytes that may come from anywhere, at most `KEYS_MAX`. Raises `MalformedMessage` before the first is given."""
    if len(packed) % KEY_BYTES:
        raise MalformedMessage(what="hot set", reason="a key is cut short", offset=len(packed) - len(packed) % KEY_BYTES)
    return (Key(Digest(digest), offset, length) for digest, offset, length in _KEY.iter_unpack(packed[: KEYS_MAX * KEY_BYTES]))


def hot_set_name(root: Digest, profile: str) -> bytes:
    """The key that stores keep a hot set by: the BLAKE3 digest of the root and, behind it, the profile as UTF-8."""
    return digest_of(root + profile.encode())


def check_hot_set(profile: str, keys: Buffer) -> None:
    """Raises `ValueError` for what no store takes."""
    if len(profile.encode()) > PROFILE_BYTES_MAX:
        raise ValueError(f"a profile of over {PROFILE_BYTES_MAX} bytes")
    if len(keys) % KEY_BYTES or len(keys) > KEYS_MAX * KEY_BYTES:
        raise ValueError(f"a hot set of {len(keys)} bytes")


@runtime_checkable
class HotSetService(Protocol):
    """What a store can offer besides: to keep hot sets. Safe to share between threads."""

    def get_hot_set(self, root: Digest, profile: str) -> bytes | None:
        """The encoded keys, None where nothing is recorded."""

    def put_hot_set(self, root: Digest, profile: str, keys: bytes) -> None:
        """Replace what is recorded; durable when this returns. Raises `ValueError` for a profile or a set that is too large."""
