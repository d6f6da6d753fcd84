"""Making the index anew from the packs, which hold everything that it knows."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack
from typing import BinaryIO, NamedTuple

from tvix.castore.compression import decompress
from tvix.castore.digests import DIGEST_BYTES, digest_of
from tvix.castore.directory import InvalidDirectory, decode_entries
from tvix.castore.nodes import DirectoryNode
from tvix.castore.pack.format import (
    BLOB,
    CHUNK_LIST,
    DIRECTORY,
    FORMAT_FILE,
    HEADER_BYTES,
    INDEX_FILE,
    MAGIC,
    PACKS_DIRECTORY,
    TRAILER_BYTES,
    Location,
    StoreFailed,
    check_format,
    checksum_holds,
    disk_error,
    index_key,
    pack_number,
    parse_header,
)
from tvix.castore.pack.index import Index
from tvix.errors import EX_TEMPFAIL, TvixError

_PIECE_BYTES = 1 << 20


class StoreBusy(TvixError):
    """Something that needs the store for itself while others write to it."""

    identifier = "castore.store-busy"
    message = "{path} is being written to by another process"
    hint = "wait until it has finished, or stop it"
    exit_code = EX_TEMPFAIL


class Rebuilt(NamedTuple):
    """What a rebuild found. `damaged` names places that hold no record that can be trusted, `cut_bytes` were torn off the ends of
    packs, `incomplete` records were left out since what they refer to is gone."""

    packs: int
    records: int
    damaged: list[str]
    cut_bytes: int
    incomplete: int


class _Scan:
    """The records of all packs."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Location] = {}
        self.ends: dict[int, int] = {}
        self.damaged: list[str] = []
        self.cut_bytes = 0
        self.needs: dict[bytes, list[bytes]] = {}

    def pack(self, number: int, file: BinaryIO, path: str) -> None:
        """Read one pack, and cut off what is torn at its end."""
        size = os.fstat(file.fileno()).st_size
        offset = good = 0
        holes: list[str] = []
        while offset < size:
            length = self._record(number, file, offset)
            if length:
                offset += length
                self.damaged += holes
                holes.clear()
                good = offset
                continue
            if not holes:
                holes.append(f"{path} at byte {offset}")
            offset = _next_magic(file, offset + 1, size)
        if good < size:
            os.ftruncate(file.fileno(), good)
            self.cut_bytes += size - good
        self.ends[number] = good

    def _record(self, number: int, file: BinaryIO, offset: int) -> int:
        """Take in the record at `offset`; its length, 0 where there is no whole one."""
        file.seek(offset)
        header = file.read(HEADER_BYTES)
        said = parse_header(header) if len(header) == HEADER_BYTES else None
        if said is None:
            return 0
        key, length, revision = said
        payload = file.read(length)
        trailer = file.read(TRAILER_BYTES)
        if len(trailer) < TRAILER_BYTES or not checksum_holds(header, payload, trailer):
            return 0
        if key[0] in (BLOB, DIRECTORY) and not _named(key, payload, revision):
            return 0
        known = self.entries.get(key)
        if known is None or (key[0] != BLOB and known[3] < revision):
            self.entries[key] = (number, offset + HEADER_BYTES, length, revision)
            self._note_needs(key, payload)
        return HEADER_BYTES + length + TRAILER_BYTES

    def _note_needs(self, key: bytes, payload: bytes) -> None:
        if key[0] == DIRECTORY:
            try:
                nodes = decode_entries(payload).values()
            except InvalidDirectory:
                self.needs[key] = [b""]
                return
            self.needs[key] = [index_key(DIRECTORY, node.digest) for node in nodes if type(node) is DirectoryNode]
        elif key[0] == CHUNK_LIST:
            step = DIGEST_BYTES + 4
            self.needs[key] = [index_key(BLOB, payload[at : at + DIGEST_BYTES]) for at in range(0, len(payload), step)]

    def drop_incomplete(self) -> int:
        """Leave out what refers to something that isn't there, and what refers to that."""
        dropped = 0
        users: dict[bytes, list[bytes]] = {}
        for user, needs in self.needs.items():
            for need in needs:
                users.setdefault(need, []).append(user)
        gone = [need for need in users if need not in self.entries]
        while gone:
            for user in users.get(gone.pop(), ()):
                if self.entries.pop(user, None) is not None:
                    dropped += 1
                    gone.append(user)
        return dropped


def _named(key: bytes, payload: bytes, size: int) -> bool:
    """Whether contents, or those of a frame, hash to their name."""
    try:
        contents = decompress(payload, size) if key[0] == BLOB and size else payload
    except ValueError:
        return False
    return digest_of(contents) == key[1:]


def _next_magic(file: BinaryIO, offset: int, size: int) -> int:
    """Where a record may begin at or after `offset`, else the end."""
    while offset < size:
        file.seek(offset)
        piece = file.read(_PIECE_BYTES)
        found = piece.find(MAGIC)
        if found >= 0:
            return offset + found
        if len(piece) < len(MAGIC):
            break
        offset += len(piece) - len(MAGIC) + 1
    return size


def rebuild_index(path: str | os.PathLike[str]) -> Rebuilt:
    """Read every pack of the store at `path`, cut off what a crash left half-written, and write the index anew.

    Needs the store for itself. Raises `StoreBusy` while another process writes; `NotAPackStore`, `NewerFormat`, `StoreFailed`.
    """
    path = os.path.abspath(path)
    scan = _Scan()
    with ExitStack() as stack:
        try:
            with open(os.path.join(path, FORMAT_FILE), "rb") as file:
                check_format(path, file.read(4096))
            for number, pack, pack_path in _hold_all(os.path.join(path, PACKS_DIRECTORY), stack):
                scan.pack(number, pack, pack_path)
        except BlockingIOError:
            raise StoreBusy(path=path) from None
        except OSError as error:
            raise disk_error(path, error, "read") from None
        incomplete = scan.drop_incomplete()
        _replace(os.path.join(path, INDEX_FILE), scan)
    return Rebuilt(len(scan.ends), len(scan.entries), scan.damaged, scan.cut_bytes, incomplete)


def _hold_all(packs: str, stack: ExitStack) -> list[tuple[int, BinaryIO, str]]:
    """All packs, each under its lock. Raises `BlockingIOError` where another process has one."""
    held: list[tuple[int, BinaryIO, str]] = []
    for name in sorted(os.listdir(packs)):
        number = pack_number(name)
        if number is not None:
            pack_path = os.path.join(packs, name)
            fd = os.open(pack_path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            pack = stack.enter_context(os.fdopen(fd, "rb", buffering=_PIECE_BYTES))
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append((number, pack, pack_path))
    return held


def _replace(index_path: str, scan: _Scan) -> None:
    """In place, so that processes that have it open see it too; an index too damaged for that is put aside first."""
    index = Index(index_path)
    try:
        index.replace_all(scan.entries, scan.ends)
    except StoreFailed:
        index.close()
        os.replace(index_path, index_path + ".damaged")
        index.replace_all(scan.entries, scan.ends)
    finally:
        index.close()
