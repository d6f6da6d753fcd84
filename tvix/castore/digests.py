"""BLAKE3 digests: the names of blobs and directories.

The digest of an empty directory equals that of the empty blob, since an empty directory encodes to no bytes:
a digest without its kind is never a key.
"""

from __future__ import annotations

import binascii
from typing import NewType

from blake3 import blake3

from tvix.errors import EX_DATAERR, TvixError

Digest = NewType("Digest", bytes)
"""32 bytes: the unkeyed BLAKE3 hash, as `b3sum` prints it. Made only by the functions here, so it is always well-formed."""

DIGEST_BYTES = 32
_PREFIX = "blake3-"


class InvalidDigest(TvixError):
    """A text or byte string that should be a digest and isn't."""

    identifier = "castore.invalid-digest"
    message = "{text!r} is not a BLAKE3 digest: {reason}"
    hint = "digests are written blake3-BASE64 (44 characters after the dash) or as 64 hexadecimal digits"
    exit_code = EX_DATAERR


def digest_of(contents: bytes | bytearray | memoryview) -> Digest:
    """The digest of a whole byte string."""
    return Digest(blake3(contents).digest())


def digest_from_bytes(raw: bytes) -> Digest:
    """Check that `raw` has the length of a digest. Raises `InvalidDigest`."""
    if len(raw) != DIGEST_BYTES:
        raise InvalidDigest(text=raw.hex(), reason=f"{len(raw)} bytes instead of {DIGEST_BYTES}")
    return Digest(raw)


def parse_digest(text: str) -> Digest:
    """Read `blake3-` + padded standard base64, or 64 hexadecimal digits. Raises `InvalidDigest`."""
    try:
        if text.startswith(_PREFIX):
            raw = binascii.a2b_base64(text[len(_PREFIX) :], strict_mode=True)
        else:
            raw = bytes.fromhex(text)
    except ValueError as error:
        raise InvalidDigest(text=text, reason=str(error)) from None
    if len(raw) != DIGEST_BYTES:
        raise InvalidDigest(text=text, reason=f"{len(raw)} bytes instead of {DIGEST_BYTES}")
    return Digest(raw)


def print_digest(digest: Digest) -> str:
    """The text form that logs, extended attributes and the kernel command line use: `blake3-` + padded base64."""
    return _PREFIX + binascii.b2a_base64(digest, newline=False).decode("ascii")
