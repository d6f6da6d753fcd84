"""Decoding directories fast: a mount decodes every directory that it shows, some of them with tens of thousands of entries.

What is canonical and usual is decoded here, at under a microsecond an entry. Anything else, be it unusual or wrong, is left to the
careful decoder of `tvix.castore.directory`, which can say what is wrong. The two agree on everything that this one takes.
"""

from __future__ import annotations

from tvix.castore.digests import Digest
from tvix.castore.nodes import TARGET_BYTES_MAX, DirectoryNode, FileNode, Name, Node, SymlinkNode

_DIRECTORY, _FILE, _SYMLINK = 0x0A, 0x12, 0x1A
_KEYS = frozenset((_DIRECTORY, _FILE, _SYMLINK))


def decode_usual_entries(encoded: bytes) -> dict[Name, Node] | None:
    """The entries, ascending by name; None for what the careful decoder must look at."""
    entries: dict[bytes, Node] = {}
    try:
        count, kinds = _decode(encoded, entries)
    except IndexError:
        return None
    if len(entries) != count or not _are_names(entries):
        return None
    if kinds > 1:
        return {name: entries[name] for name in sorted(entries)}  # type: ignore[misc]
    return entries  # type: ignore[return-value]


def _are_names(names: dict[bytes, Node]) -> bool:
    """What `check_name` says of each, but for its length, in a few calls for all."""
    if not names:
        return True
    joined = b"\0".join(names)
    return b"/" not in joined and joined.count(b"\0") == len(names) - 1 and b"." not in names and b".." not in names


def _decode(encoded: bytes, entries: dict[bytes, Node]) -> tuple[int, int]:  # noqa: C901
    """Fill `entries`: how many there are, and of how many kinds. Raises `IndexError` for anything unusual.

    One loop, written out: a function call would cost a tenth of the time that an entry may take. Lengths of names are one byte (up
    to 127). Bytes that are missing fail by themselves, since indices past the end raise and a slice that is too short doesn't end
    where it must.
    """
    new = tuple.__new__
    offset = count = kinds = key_before = 0
    end = len(encoded)
    previous = b""
    while offset < end:
        key = encoded[offset]
        length = encoded[offset + 1]
        start = offset + 2
        if length > 127:
            length, start = _long_varint(encoded, length, start)
        stop = start + length
        name_length = encoded[start + 1]
        at = start + 2 + name_length
        name = encoded[start + 2 : at]
        if key != key_before:
            if key < key_before or key not in _KEYS:
                raise IndexError
            key_before = key
            kinds += 1
            previous = b""
        if encoded[start] != 0x0A or name_length > 127 or name <= previous or stop > end:
            raise IndexError
        previous = name
        if key != _SYMLINK:
            if encoded[at] != 0x12 or encoded[at + 1] != 0x20:
                raise IndexError
            digest = encoded[at + 2 : at + 34]
            at += 34
            size = 0
            executable = False
            if at < stop:
                if encoded[at] == 0x18:
                    size = encoded[at + 1]
                    at += 2
                    if size > 127:
                        size, at = _long_varint(encoded, size, at)
                    elif size == 0:
                        raise IndexError
                if at < stop and key == _FILE and encoded[at] == 0x20 and encoded[at + 1] == 1:
                    executable = True
                    at += 2
            if key == _FILE:
                entries[name] = new(FileNode, (digest, size, executable))
            else:
                entries[name] = DirectoryNode(Digest(digest), size)
        else:
            entries[name], at = _symlink(encoded, at)
        if at != stop:
            raise IndexError
        count += 1
        offset = stop
    return count, kinds


def _symlink(encoded: bytes, at: int) -> tuple[SymlinkNode, int]:
    """What follows a symlink's name, and the offset after it."""
    size = encoded[at + 1]
    start = at + 2
    if size > 127:
        size, start = _long_varint(encoded, size, start)
    target = encoded[start : start + size]
    if encoded[at] != 0x12 or not 0 < size <= TARGET_BYTES_MAX or b"\0" in target:
        raise IndexError
    return SymlinkNode(target), start + size


def _long_varint(encoded: bytes, value: int, offset: int) -> tuple[int, int]:
    """A number that goes on after its first byte `value`: itself and the offset after it. At most 56 bits are usual."""
    value &= 127
    for shift in range(7, 56, 7):
        byte = encoded[offset]
        offset += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if byte == 0:
                raise IndexError
            return value, offset
    raise IndexError
