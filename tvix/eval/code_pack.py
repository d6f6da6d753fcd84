"""Resolved code on disk: a directory of packs, each written once and never changed.

A run writes what it had to resolve into one new pack, under a name that nobody else uses, and renames it into place: several runs
at once, and runs that are killed, leave whole packs or nothing that counts. Where many small packs have come together, whoever
closes next makes one of them, and drops the oldest beyond the bound; a reader that has one of them open still reads it.

    pack      header, table, code …
    header    16 bytes: `tvix-code` and zeros · u32 slots · u32 entries
    table     slots of 48 bytes: 32 of the key · u64 offset · u32 length · u32 CRC-32; all zeros in a free one

Integers are little-endian. The key is BLAKE2b over the contents of the source, keyed by everything else that resolved code depends
on. It begins to be looked for at the slot that is its first four bytes modulo the number of slots, and goes on with the next until
a free one; an eighth of them are free at least. The file's name says by which formats it was written: others are left alone until
they are old. Nothing of a pack is read but what is asked for.
"""

from __future__ import annotations

import marshal
import posix
import sys

from tvix.eval import code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.code import Code

_MAGIC: Final = b"tvix-code\0\0\0\0\0\0\0"
_HEADER_BYTES: Final = 24
_SLOT_BYTES: Final = 48
_KEY_BYTES: Final = 32
_SUFFIX: Final = f".{code.FORMAT}-{marshal.version}-{sys.version_info[0]}{sys.version_info[1]}.code"
_FREE: Final = bytes(_SLOT_BYTES)
_MAX_BYTES: Final = 256 << 20
_MAX_PACKS: Final = 12
_LARGE: Final = 32 << 20
"""Packs of this size aren't put together any more."""
_PENDING: Final = 16 << 20
"""So much code is held back before it is written."""
_ABANDONED: Final = 3600
"""Seconds after which an unfinished file has surely lost its writer."""


class CodePack:
    """A `CodeFiles` in a directory, which is made for this user alone. What can't be read isn't there, what can't be written is
    left out: nothing here fails. `close` writes what is new. The directory's name has one character per byte.
    """

    def __init__(self, directory: str, max_bytes: int = _MAX_BYTES) -> None:
        self._directory = directory.encode("latin-1").decode(sys.getfilesystemencoding(), "surrogateescape")
        self._max_bytes = max_bytes
        self._packs: list[Any] | None = None
        self._new: dict[bytes, bytes] = {}
        self._new_bytes = 0
        self._circumstances = ""
        self._secret = b""
        self._last: bytes | None = None
        self._last_key = b""

    def get(self, circumstances: str, contents: bytes) -> Code | None:
        """See `CodeFiles`."""
        key = self._key(circumstances, contents)
        packs = self._packs
        if packs is None:
            packs = self._packs = [data for name, _ in _listed(self._directory) for data in _opened(f"{self._directory}/{name}")]
        found: Any = self._new.get(key)
        if found is None:
            for data in packs:
                found = _look_up(data, key)
                if found is not None:
                    break
            else:
                return None
        try:
            piece: Any = marshal.loads(found)  # a file of this user, that passed its check
        except (ValueError, EOFError, TypeError):
            return None
        return piece if type(piece) is tuple else None

    def put(self, circumstances: str, contents: bytes, code: Code) -> None:
        """See `CodeFiles`."""
        data = marshal.dumps(code)
        self._new[self._key(circumstances, contents)] = data
        self._new_bytes += len(data)
        if self._new_bytes > _PENDING:
            self._write()

    def close(self) -> None:
        """Write what is new, and tidy up where that is due."""
        if self._new:
            self._write()

    def _key(self, circumstances: str, contents: bytes) -> bytes:
        if contents is self._last and circumstances == self._circumstances:
            return self._last_key
        # BLAKE2b is part of the interpreter: for sources as small as most are it beats BLAKE3, which has to be loaded first.
        try:
            from _blake2 import blake2b
        except ImportError:
            from hashlib import blake2b
        if circumstances != self._circumstances:
            self._circumstances = circumstances
            self._secret = blake2b(circumstances.encode(), digest_size=_KEY_BYTES).digest()
        self._last = contents
        self._last_key = blake2b(contents, digest_size=_KEY_BYTES, key=self._secret).digest()
        return self._last_key

    def _write(self) -> None:
        entries, self._new, self._new_bytes = self._new, {}, 0
        try:
            _prepare(self._directory)
            _publish(self._directory, entries)
            _tidy(self._directory, self._max_bytes)
        except OSError:
            return
        self._packs = None


def _listed(directory: str) -> list[tuple[str, int]]:
    """The packs of our formats with their sizes, the newest first: names begin with the time."""
    found: list[tuple[str, int]] = []
    try:
        names = sorted(posix.listdir(directory), reverse=True)
    except OSError:
        return []
    for name in names:
        if name.endswith(_SUFFIX):
            try:
                found.append((name, posix.stat(f"{directory}/{name}").st_size))
            except OSError:  # dropped meanwhile
                continue
    return found


def _opened(path: str) -> list[Any]:
    """The pack, mapped; nothing if it is none of ours."""
    import mmap

    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except OSError:
        return []
    try:
        state = posix.fstat(descriptor)
        if state.st_uid != posix.geteuid() or state.st_size < _HEADER_BYTES + _SLOT_BYTES:
            return []
        data = memoryview(mmap.mmap(descriptor, state.st_size, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE))
    except (OSError, ValueError):
        return []
    finally:
        posix.close(descriptor)
    slots = int.from_bytes(data[16:20], "little")
    if bytes(data[:16]) != _MAGIC or not slots or _HEADER_BYTES + slots * _SLOT_BYTES > len(data):
        return []
    return [data]


def _look_up(data: Any, key: bytes) -> Any:
    """The code of a key, if the pack has it and it is whole."""
    import zlib

    slots: int = int.from_bytes(data[16:20], "little")
    slot: int = int.from_bytes(key[:4], "little") % slots
    for _ in range(slots):
        at = _HEADER_BYTES + slot * _SLOT_BYTES
        entry = bytes(data[at : at + _SLOT_BYTES])
        if entry[:_KEY_BYTES] == key:
            offset = int.from_bytes(entry[32:40], "little")
            end = offset + int.from_bytes(entry[40:44], "little")
            found: Any = data[offset:end]
            return found if zlib.crc32(found) == int.from_bytes(entry[44:48], "little") else None
        if entry == _FREE:
            return None
        slot = slot + 1 if slot + 1 < slots else 0
    return None


def _entries(data: Any) -> dict[bytes, bytes]:
    """All that a pack has."""
    found: dict[bytes, bytes] = {}
    for slot in range(int.from_bytes(data[16:20], "little")):
        at = _HEADER_BYTES + slot * _SLOT_BYTES
        key = bytes(data[at : at + _KEY_BYTES])
        piece = _look_up(data, key) if data[at : at + _SLOT_BYTES] != _FREE else None
        if piece is not None:
            found[key] = bytes(piece)
    return found


def _rendered(entries: dict[bytes, bytes]) -> list[bytes]:
    """A pack, in pieces."""
    import zlib

    slots = len(entries) + len(entries) // 3 + 2
    table = bytearray(slots * _SLOT_BYTES)
    offset = _HEADER_BYTES + len(table)
    for key, data in entries.items():
        slot = int.from_bytes(key[:4], "little") % slots
        while table[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES] != _FREE:
            slot = (slot + 1) % slots
        where = offset.to_bytes(8, "little") + len(data).to_bytes(4, "little") + zlib.crc32(data).to_bytes(4, "little")
        table[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES] = key + where
        offset += len(data)
    header = _MAGIC + slots.to_bytes(4, "little") + len(entries).to_bytes(4, "little")
    return [header, bytes(table), *entries.values()]


def _prepare(directory: str) -> None:
    """Make the directory and those above it."""
    try:
        posix.mkdir(directory, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        above = directory.rpartition("/")[0]
        if not above:
            raise
        _prepare(above)
        posix.mkdir(directory, 0o700)


def _publish(directory: str, entries: dict[bytes, bytes]) -> None:
    """Write a pack: whole under its name, or not at all."""
    import time

    name = f"{directory}/{time.time_ns():020d}-{posix.getpid()}{_SUFFIX}"
    unfinished = f"{name}.part"
    descriptor = posix.open(unfinished, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(b"".join(_rendered(entries)))
            while view:
                written = posix.write(descriptor, view)  # in the slice itself mypyc 2.4 would call it twice
                view = view[written:]
        finally:
            posix.close(descriptor)
        posix.rename(unfinished, name)
    except OSError:
        posix.unlink(unfinished)
        raise


def _tidy(directory: str, max_bytes: int) -> None:
    """Put small packs together, drop the oldest, and what was never finished. One run does that, others don't wait for it."""
    import fcntl

    lock = posix.open(f"{directory}/lock", posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        packs = _listed(directory)
        if len(packs) > _MAX_PACKS:
            _merge(directory, [name for name, size in packs if size < _LARGE])
        _drop(directory, max_bytes)
    finally:
        posix.close(lock)


def _merge(directory: str, names: list[str]) -> None:
    together: dict[bytes, bytes] = {}
    for name in names:
        for data in _opened(f"{directory}/{name}"):
            together.update(_entries(data))
    if together:
        _publish(directory, together)
    for name in names:
        posix.unlink(f"{directory}/{name}")


def _drop(directory: str, max_bytes: int) -> None:
    """Whatever its format: the newest stay, as many as there is room for."""
    import time

    total = 0
    for name in sorted(posix.listdir(directory), reverse=True):
        state = posix.stat(f"{directory}/{name}")
        if name.endswith(".part"):
            stays = time.time() - state.st_mtime < _ABANDONED
        elif name.endswith(".code"):
            total += state.st_size
            stays = total <= max_bytes
        else:
            continue
        if not stays:
            posix.unlink(f"{directory}/{name}")
