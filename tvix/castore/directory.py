"""A directory: names and what they stand for, named by the BLAKE3 digest of one canonical encoding.

The encoding is the protobuf message `castore.v1.Directory` (directories = 1, files = 2, symlinks = 3), fields in number order, each
list strictly ascending by name, defaults left out, nothing unknown. Since the digest is over the encoding, anything else that would
decode to the same entries is refused.

`size` counts as the deployed daemons do: two for each entry, plus the sizes of the directories below. The published text says one
for each entry; both are accepted when directories from elsewhere are validated, and two is what is written, because the size stands
in the parent's encoding and so decides its digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

from tvix.castore.digests import DIGEST_BYTES, Digest, digest_of
from tvix.castore.directory_decoding import decode_usual_entries
from tvix.castore.nodes import (
    DirectoryNode,
    FileNode,
    InvalidName,
    InvalidTarget,
    Name,
    Node,
    SymlinkNode,
    check_name,
    check_target,
)
from tvix.castore.protobuf import VARINT, MalformedMessage, decode_varint, encode_varint
from tvix.errors import EX_DATAERR, TvixError

_U64_MAX = (1 << 64) - 1
_ENTRY_COUNT = 2
# Keys are written out: 0x0A, 0x12, 0x1A are fields 1, 2, 3 of the length-delimited type; a digest is field 2 of 32 bytes.
_DIGEST_KEY = b"\x12\x20"
# Of one or two bytes, enough for any target. Written out, since `encode_varint` four thousand times is felt when a machine boots.
_LENGTHS = [bytes((low,)) for low in range(128)] + [bytes((low | 128, high)) for high in range(1, 33) for low in range(128)]


class InvalidDirectory(TvixError):
    """An encoded directory that isn't the canonical encoding of a valid one."""

    identifier = "castore.invalid-directory"
    message = "not a canonical directory: {reason}"
    hint = "it was damaged, or made by a program that encodes directories in a way of its own"
    exit_code = EX_DATAERR


class Directory:
    """An immutable directory. Made by `of` from entries, by `decode` from untrusted bytes, by `trusted` from our own storage, by
    `built` from an encoding that was put together entry by entry."""

    __slots__ = ("_children", "_digest", "_entries", "_length", "_size", "checked", "encoded")

    def __init__(self, encoded: bytes, digest: Digest | None, entries: Mapping[Name, Node] | None) -> None:
        self.encoded = encoded
        self._digest = digest
        self._entries = entries
        self._size: int | None = None
        self._length = -1
        self._children: Sequence[DirectoryNode] | None = None
        self.checked = entries is not None
        """Whether the encoding is known to be canonical and the digest to be its own, by the work of this process."""

    @classmethod
    def of(cls, entries: Iterable[tuple[Name, Node]]) -> Directory:
        """From entries in any order. Raises `InvalidDirectory` when a name comes twice or the size passes 2^64."""
        pairs = sorted(entries, key=itemgetter(0))
        ordered = dict(pairs)
        if len(ordered) != len(pairs):
            raise InvalidDirectory(reason="a name stands for two things")
        directory = cls(encode_entries(ordered), None, ordered)
        _ = directory.size
        return directory

    @classmethod
    def decode(cls, encoded: bytes) -> Directory:
        """From bytes that may come from anywhere. Raises `InvalidDirectory` for anything not canonical."""
        return cls(encoded, None, decode_entries(encoded))

    @classmethod
    def trusted(cls, digest: Digest, encoded: bytes) -> Directory:
        """From storage that verified it when it came in: entries are decoded when they are asked for."""
        return cls(encoded, digest, None)

    @classmethod
    def built(cls, encoded: bytes, digest: Digest, length: int, children: Sequence[DirectoryNode]) -> Directory:
        """From an encoding made with `encode_file_entry` and its like out of `length` entries, `children` of them directories.

        For bulk work: whoever stores it needs no decoding. Raises `InvalidDirectory` when its size passes 2^64.
        """
        directory = cls(encoded, digest, None)
        directory.checked = True
        directory._length = length
        directory._children = children
        _ = directory.size
        return directory

    @property
    def digest(self) -> Digest:
        """BLAKE3 of the encoding."""
        if self._digest is None:
            self._digest = digest_of(self.encoded)
        return self._digest

    @property
    def entries(self) -> Mapping[Name, Node]:
        """Names and nodes, ascending by name across all kinds."""
        if self._entries is None:
            self._entries = decode_entries(self.encoded)
        return self._entries

    @property
    def size(self) -> int:
        """Two for each entry plus the sizes of the directories below. Raises `InvalidDirectory` past 2^64."""
        if self._size is None:
            total = _ENTRY_COUNT * len(self)
            for node in self.children():
                total += node.size
            if total > _U64_MAX:
                raise InvalidDirectory(reason="its size is over 64 bits")
            self._size = total
        return self._size

    @property
    def published_size(self) -> int:
        """As the published text counts: one for each entry. Only a directory of leaves tells the two counts apart by itself."""
        return self.size - len(self)

    @property
    def node(self) -> DirectoryNode:
        """What a parent says of this directory."""
        return DirectoryNode(self.digest, self.size)

    def children(self) -> Sequence[DirectoryNode]:
        """The directories named here, in name order, each as often as it is named."""
        if self._children is None:
            self._children = [node for node in self.entries.values() if type(node) is DirectoryNode]
        return self._children

    def __len__(self) -> int:
        """The number of entries."""
        if self._length < 0:
            self._length = len(self.entries)
        return self._length

    def __bool__(self) -> bool:
        """An empty directory is a directory."""
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Directory) and other.encoded == self.encoded

    def __hash__(self) -> int:
        return hash(self.encoded)

    def __repr__(self) -> str:
        return f"Directory({self.digest.hex()[:12]}, {len(self.entries)} entries)"


def encode_directory_entry(name: bytes, digest: Digest, size: int) -> bytes:
    """One element of `directories`, with its key and length: for code that builds encodings straight from a walk."""
    body = b"\x0a" + _LENGTHS[len(name)] + name + _DIGEST_KEY + digest
    if size:
        body += b"\x18" + encode_varint(size)
    return b"\x0a" + _LENGTHS[len(body)] + body


def encode_file_entry(name: bytes, digest: Digest, size: int, executable: bool) -> bytes:
    """One element of `files`, with its key and length."""
    body = b"\x0a" + _LENGTHS[len(name)] + name + _DIGEST_KEY + digest
    if size:
        body += b"\x18" + encode_varint(size)
    if executable:
        body += b"\x20\x01"
    return b"\x12" + _LENGTHS[len(body)] + body


def encode_symlink_entry(name: bytes, target: bytes) -> bytes:
    """One element of `symlinks`, with its key and length."""
    body = b"\x0a" + _LENGTHS[len(name)] + name + b"\x12" + _LENGTHS[len(target)] + target
    return b"\x1a" + encode_varint(len(body)) + body


def encode_entries(entries: Mapping[Name, Node]) -> bytes:
    """The canonical encoding of entries that are already in ascending order."""
    directories: list[bytes] = []
    files: list[bytes] = []
    symlinks: list[bytes] = []
    for name, node in entries.items():
        kind = type(node)
        if kind is FileNode:
            files.append(encode_file_entry(name, *node))
        elif kind is DirectoryNode:
            directories.append(encode_directory_entry(name, *node))
        else:
            symlinks.append(encode_symlink_entry(name, *node))
    return b"".join(chain(directories, files, symlinks))


def decode_entries(encoded: bytes) -> dict[Name, Node]:
    """The entries of a canonical encoding, ascending by name. Raises `InvalidDirectory`."""
    entries = decode_usual_entries(encoded)
    return _decode_carefully(encoded) if entries is None else entries


def _decode_carefully(encoded: bytes) -> dict[Name, Node]:
    """Any encoding, and what is wrong with it."""
    found: list[tuple[Name, Node]] = []
    offset = 0
    end = len(encoded)
    kind_before = 0
    name_before = b""
    try:
        while offset < end:
            key = encoded[offset]
            if key not in (0x0A, 0x12, 0x1A):
                raise InvalidDirectory(reason=f"unknown field key {key} at byte {offset}")
            length, offset = decode_varint(encoded, offset + 1, "directory")
            if length > end - offset:
                raise InvalidDirectory(reason=f"an entry is longer than the message at byte {offset}")
            if key < kind_before:
                raise InvalidDirectory(reason=f"fields are out of order at byte {offset}")
            name, node = _decode_entry(key, encoded[offset : offset + length])
            if key == kind_before and name <= name_before:
                raise InvalidDirectory(reason=f"{name!r} comes after {name_before!r}: names must ascend")
            found.append((name, node))
            kind_before = key
            name_before = name
            offset += length
    except (MalformedMessage, InvalidName, InvalidTarget) as error:
        raise InvalidDirectory(reason=str(error)) from None
    if encoded and encoded[0] != kind_before:  # more than one kind: one order over all of them
        found.sort()
    entries = dict(found)
    if len(entries) != len(found):
        raise InvalidDirectory(reason="a name stands for two things")
    return entries


def _decode_entry(key: int, body: bytes) -> tuple[Name, Node]:
    if not body or body[0] != 0x0A:
        raise InvalidDirectory(reason="an entry has no name")
    length, offset = decode_varint(body, 1, "directory entry")
    name = check_name(body[offset : offset + length])
    if len(name) != length:
        raise InvalidDirectory(reason="a name is cut short")
    offset += length
    if key == 0x1A:
        if body[offset : offset + 1] != b"\x12":
            raise InvalidDirectory(reason=f"symlink {name!r} has no target")
        length, offset = decode_varint(body, offset + 1, "symlink")
        if offset + length != len(body):
            raise InvalidDirectory(reason=f"symlink {name!r} has a target of the wrong length")
        return name, SymlinkNode(check_target(body[offset:]))
    if body[offset : offset + 2] != _DIGEST_KEY or len(body) < offset + 2 + DIGEST_BYTES:
        raise InvalidDirectory(reason=f"{name!r} has no digest of {DIGEST_BYTES} bytes")
    digest = Digest(body[offset + 2 : offset + 2 + DIGEST_BYTES])
    offset += 2 + DIGEST_BYTES
    size, offset = _decode_default(body, offset, 3)
    if key == 0x0A:
        node: Node = DirectoryNode(digest, size)
    else:
        executable, offset = _decode_default(body, offset, 4)
        if executable > 1:
            raise InvalidDirectory(reason=f"{name!r} is executable {executable} times")
        node = FileNode(digest, size, executable == 1)
    if offset != len(body):
        raise InvalidDirectory(reason=f"{name!r} is followed by something unknown")
    return name, node


def _decode_default(body: bytes, offset: int, field: int) -> tuple[int, int]:
    """A varint field that is left out when zero, and so must not say zero."""
    if offset == len(body) or body[offset] != field << 3 | VARINT:
        return 0, offset
    value, offset = decode_varint(body, offset + 1, "directory entry")
    if value == 0:
        raise InvalidDirectory(reason=f"field {field} says its default")
    return value, offset
