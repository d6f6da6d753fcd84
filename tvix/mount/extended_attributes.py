"""Extended attributes of a mount: the digests of what is shown, and at the root what the mount has done so far.

The digests have two names each, for programs written against either generation of the published protocol's file systems.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvix.castore.digests import Digest, print_digest
from tvix.mount.node_table import DIRECTORY, EXECUTABLE, FILE, NO_DIGEST, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Sequence

STATS = b"user.tvix.stats"
"""At the root alone, not listed: the counters, as JSON."""

_DIRECTORY_DIGEST = (b"user.tvix.castore.directory.digest", b"user.snix.castore.directory.digest")
_BLOB_DIGEST = (b"user.tvix.castore.blob.digest", b"user.snix.castore.blob.digest")
_NAMES: dict[int, tuple[bytes, ...]] = {
    DIRECTORY: _DIRECTORY_DIGEST,
    FILE: _BLOB_DIGEST,
    EXECUTABLE: _BLOB_DIGEST,
    SYMLINK: (),
}


def names(kind: int, digest: bytes) -> Sequence[bytes]:
    """What a node of that kind and digest has."""
    return _NAMES[kind] if digest != NO_DIGEST else ()


def value(name: bytes, kind: int, digest: bytes) -> bytes | None:
    """The value of one, None where there is none of that name."""
    return print_digest(Digest(digest)).encode() if name in names(kind, digest) else None
