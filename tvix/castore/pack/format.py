"""The bytes of a pack store on disk; docs/formats/pack.md says the same in prose.

A record is a header of 48 bytes, the payload, and the CRC-32 of both: its neighbour's payload lies 52 bytes after its own ends.
"""

from __future__ import annotations

import os
from struct import Struct
from zlib import crc32

from tvix.castore.blobs.interface import Buffer
from tvix.errors import EX_DATAERR, EX_IOERR, EX_NOINPUT, TvixError

VERSION = 2
"""Version 1 knew no compressed records, which is all the difference: its stores are version 2 once the number is changed."""
FORMAT_FILE = "format"
INDEX_FILE = "index.lmdb"
PACKS_DIRECTORY = "packs"
PARTIAL_FILE = "partial"
"""Where it is, records may refer to what isn't here: the store is the near end of something, or old packs were dropped from it."""
PACK_BYTES_MAX = 256 << 20

# Kinds of record. The key is the digest of what is stored, for path infos the 20 bytes of the store path's hash.
BLOB = 1
"""A blob in one piece: a small blob, or a chunk of a large one."""
CHUNK_LIST = 2
"""The digests and sizes of a large blob's chunks, in order."""
DIRECTORY = 3
"""A directory in its canonical encoding."""
PATH_INFO = 4
"""What is known of a store path. This kind and those behind it may be replaced; the record with the highest revision counts."""
HOT_SET = 5
"""What a program read the last time; the key is the digest of its closure root and profile."""
SIGNED_ROOT = 6
"""The signed closure root of a store path; the key is that of its path info."""

MAGIC = b"\x97TvP"
_HEADER = Struct("<4sBBBBII32s")
_TRAILER = Struct("<I")
_COMPRESSED = 1  # a flag: the payload is one zstd frame
HEADER_BYTES = _HEADER.size
TRAILER_BYTES = _TRAILER.size
OVERHEAD_BYTES = HEADER_BYTES + TRAILER_BYTES
PAYLOAD_BYTES_MAX = PACK_BYTES_MAX - OVERHEAD_BYTES

LOCATION = Struct("<IIII")
"""What the index says of a record: number of the pack, offset of the payload in it, length of the payload, and a number that is 0,
the size of a blob whose payload is compressed, or the revision of what can be replaced."""
Location = tuple[int, int, int, int]

_FORMAT_LINE = "tvix pack store "


class NotAPackStore(TvixError):
    """A path that should hold a pack store and holds something else."""

    identifier = "castore.not-a-pack-store"
    message = "{path} is not a pack store: {reason}"
    hint = "give an empty or a new directory to make a store in"
    exit_code = EX_NOINPUT


class NewerFormat(TvixError):
    """A pack store that a later program made."""

    identifier = "castore.newer-format"
    message = "{path} is a pack store of version {found}; this program knows versions up to {known}"
    hint = "use the program that made it, or a newer one"
    exit_code = EX_DATAERR


class DamagedPack(TvixError):
    """A record that isn't what was written."""

    identifier = "castore.damaged-pack"
    message = "{path} is damaged at byte {offset}: {reason}"
    hint = "the disk lost data; fetch the store's contents again from another store"
    exit_code = EX_DATAERR


class DiskFull(TvixError):
    """No room is left for what should be stored."""

    identifier = "castore.disk-full"
    message = "no space is left for {path}: {reason}"
    hint = "free some space and repeat: what was stored before is kept, what was being stored is not there by half"
    exit_code = EX_IOERR


class RecordTooLarge(TvixError):
    """One object that no pack can hold."""

    identifier = "castore.record-too-large"
    message = "an object of {size} bytes can't be stored in {path}: at most {limit} fit in a record"
    exit_code = EX_DATAERR


class StoreFailed(TvixError):
    """The operating system refused to read or write a store."""

    identifier = "castore.store-failed"
    message = "{path} can't be {action}: {reason}"
    exit_code = EX_IOERR


def format_line() -> bytes:
    """The contents of the format file."""
    return f"{_FORMAT_LINE}{VERSION}\n".encode()


def check_format(path: str, contents: bytes) -> int:
    """The version that a format file says. Raises `NewerFormat` and `NotAPackStore`."""
    text = contents.decode("utf-8", "replace")
    digits = text.removeprefix(_FORMAT_LINE).removesuffix("\n")
    if not text.startswith(_FORMAT_LINE) or not (digits.isascii() and digits.isdigit()) or int(digits) < 1:
        raise NotAPackStore(path=path, reason=f"its format file says {text[:80]!r}")
    if int(digits) > VERSION:
        raise NewerFormat(path=path, found=digits, known=VERSION)
    return int(digits)


def pack_name(number: int) -> str:
    """The file name of a pack."""
    return f"{number:08x}.pack"


def pack_number(name: str) -> int | None:
    """The number of a pack, None where the file is no pack."""
    digits, dot, suffix = name.partition(".")
    try:
        number = int(digits, 16)
    except ValueError:
        return None
    return number if dot and suffix == "pack" and name == pack_name(number) else None


def index_key(kind: int, key: bytes) -> bytes:
    """The key of a record in the index."""
    return bytes((kind,)) + key


def end_key(number: int) -> bytes:
    """The key in the index for the committed length of a pack."""
    return b"\0" + number.to_bytes(4, "big")


def raw_size(key: bytes, location: Location) -> int:
    """The size of a compressed record's contents, 0 where they lie as they are."""
    return location[3] if key[0] == BLOB else 0


def record_frame(key: bytes, payload: Buffer, revision: int = 0) -> tuple[bytes, bytes]:
    """Header and trailer of a record; `key` is an `index_key`, `revision` the last number of its `Location`."""
    flags = _COMPRESSED if revision and key[0] == BLOB else 0
    header = _HEADER.pack(MAGIC, key[0], flags, len(key) - 1, 0, revision, len(payload), key[1:])
    return header, _TRAILER.pack(crc32(payload, crc32(header)))


def parse_header(header: Buffer) -> tuple[bytes, int, int] | None:
    """(index key, payload length, revision), or None for what can't be a header of this version."""
    magic, kind, flags, key_bytes, zero, revision, length, key = _HEADER.unpack(header)
    if magic != MAGIC or zero or not kind or not 0 < key_bytes <= 32 or length > PAYLOAD_BYTES_MAX or any(key[key_bytes:]):
        return None
    if flags != (_COMPRESSED if kind == BLOB and revision else 0):
        return None
    return bytes((kind,)) + key[:key_bytes], length, revision


def checksum_holds(header: Buffer, payload: Buffer, trailer: Buffer) -> bool:
    """Whether a record is as it was written."""
    return bool(_TRAILER.unpack(trailer)[0] == crc32(payload, crc32(header)))


def disk_error(path: str, error: OSError, action: str = "written") -> TvixError:
    """The error to raise for what the system said about a store's file."""
    from errno import EDQUOT, ENOSPC

    if error.errno in (ENOSPC, EDQUOT):
        return DiskFull(path=path, reason=os.strerror(error.errno))
    return StoreFailed(path=path, action=action, reason=error.strerror or str(error))
