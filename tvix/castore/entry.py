"""The published `Entry` message (Tvix: `Node`): one node with or without a name, as path infos and `CalculateNAR` carry it.

Its three fields have the numbers that the lists of a directory have, so an entry with a name is encoded as a directory of one.
Unlike a directory no digest is over it, so any valid protobuf encoding is taken, unknown fields left aside.
"""

from __future__ import annotations

from tvix.castore.digests import digest_from_bytes
from tvix.castore.directory import encode_entries
from tvix.castore.nodes import DirectoryNode, FileNode, Name, Node, SymlinkNode, check_target
from tvix.castore.protobuf import MalformedMessage, bytes_field, fields, message_field, varint_field

_DIRECTORY, _FILE, _SYMLINK = 1, 2, 3


def encode_entry(name: bytes, node: Node) -> bytes:
    """The message; an empty `name` is left out."""
    if name:
        return encode_entries({Name(name): node})
    if type(node) is DirectoryNode:
        return message_field(_DIRECTORY, bytes_field(2, node.digest) + varint_field(3, node.size))
    if type(node) is FileNode:
        return message_field(_FILE, bytes_field(2, node.digest) + varint_field(3, node.size) + varint_field(4, node.executable))
    assert type(node) is SymlinkNode
    return message_field(_SYMLINK, bytes_field(2, node.target))


def decode_entry(encoded: bytes) -> tuple[bytes, Node]:
    """(name, node); the name is not checked, and empty where there is none.

    Raises `MalformedMessage`, `InvalidDigest`, `InvalidTarget`.
    """
    found: tuple[bytes, Node] | None = None
    for number, value in fields(encoded, "entry"):
        if number not in (_DIRECTORY, _FILE, _SYMLINK):
            continue
        if found is not None or not isinstance(value, bytes):
            raise MalformedMessage(what="entry", reason="it is not exactly one of directory, file, symlink", offset=0)
        found = _decode_node(number, value)
    if found is None:
        raise MalformedMessage(what="entry", reason="it is neither directory, file nor symlink", offset=0)
    return found


def _decode_node(kind: int, body: bytes) -> tuple[bytes, Node]:
    texts = {1: b"", 2: b""}
    numbers = {3: 0, 4: 0}
    for number, value in fields(body, "entry"):
        if number in texts and isinstance(value, bytes):
            texts[number] = value
        elif number in numbers and isinstance(value, int):
            numbers[number] = value
        elif number in texts or number in numbers:
            raise MalformedMessage(what="entry", reason=f"field {number} has the wrong type", offset=0)
    if kind == _SYMLINK:
        return texts[1], SymlinkNode(check_target(texts[2]))
    digest = digest_from_bytes(texts[2])
    if kind == _DIRECTORY:
        return texts[1], DirectoryNode(digest, numbers[3])
    return texts[1], FileNode(digest, numbers[3], numbers[4] != 0)
