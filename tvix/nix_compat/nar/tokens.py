"""The strings of the NAR grammar, encoded once, and the runs of them that always come together.

For the reader and writer here, and for renderers that go from a tree straight to bytes. The NAR of a tree is `MAGIC` and the root's
node; a node is one of

    DIRECTORY, for each name in ascending order ( ENTRY string(name) NODE  node  CLOSE ), CLOSE
    REGULAR or EXECUTABLE, string(contents), CLOSE
    SYMLINK, string(target), CLOSE

where `string(b)` is `length(len(b)) + b + PADDING[len(b) & 7]`.
"""

from __future__ import annotations

from struct import Struct

NAME_BYTES_MAX = 255
TARGET_BYTES_MAX = 4095
DEPTH_MAX = 64
"""How many components a path below the root may have."""
LENGTH_MAX = (1 << 63) - 1
"""The longest string, in bytes."""

_LENGTH = Struct("<Q")
length = _LENGTH.pack
"""A length as eight bytes."""
unpack_length = _LENGTH.unpack_from
"""The length at an offset of a buffer, in a tuple of one."""

PADDING = [bytes(-size & 7) for size in range(8)]
"""The zeros that follow a string of n bytes, at n modulo 8."""


def string(contents: bytes) -> bytes:
    """One string with its length and padding."""
    size = len(contents)
    return length(size) + contents + PADDING[size & 7]


MAGIC = string(b"nix-archive-1")
CLOSE = string(b")")
ENTRY = string(b"entry") + string(b"(") + string(b"name")
NODE = string(b"node")
_TYPE = string(b"(") + string(b"type")
DIRECTORY = _TYPE + string(b"directory")
REGULAR = _TYPE + string(b"regular") + string(b"contents")
EXECUTABLE = _TYPE + string(b"regular") + string(b"executable") + string(b"") + string(b"contents")
SYMLINK = _TYPE + string(b"symlink") + string(b"target")

CLOSE_ENTRY = CLOSE + CLOSE
"""The end of a node that stands in a directory: its own and that of the entry."""
DOTS = frozenset((b".", b".."))

ENTRY_HEADS = [b"", *(ENTRY + length(size) for size in range(1, NAME_BYTES_MAX + 1))]
"""What comes before a name of n bytes, at n."""


def padded(token: bytes) -> list[bytes]:
    """`token` behind the padding of a string of n bytes, at n modulo 8: for matching or writing both at once."""
    return [padding + token for padding in PADDING]


NODE_DIRECTORY = padded(NODE + DIRECTORY)
NODE_REGULAR = padded(NODE + REGULAR)
NODE_EXECUTABLE = padded(NODE + EXECUTABLE)
NODE_SYMLINK = padded(NODE + SYMLINK)
PADDED_CLOSE = padded(CLOSE)
PADDED_CLOSE_ENTRY = padded(CLOSE_ENTRY)
