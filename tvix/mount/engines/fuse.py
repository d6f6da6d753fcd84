"""The FUSE protocol spoken directly over /dev/fuse: one loop that reads a request and answers it.

Whatever is near is answered at once, by the loop's own thread. What must come from far boards a flight, whose thread writes the
reply itself, so a request that waits holds nothing up. Names and attributes are valid for ever, OPEN and OPENDIR are answered with
ENOSYS: once warm, the kernel asks nothing.
"""

from __future__ import annotations

import errno
import os
from struct import error as MalformedRequest  # noqa: N812
from typing import TYPE_CHECKING

from tvix.castore.digests import Digest, print_digest
from tvix.castore.tree import DirectoryNotFound
from tvix.errors import TvixError
from tvix.mount.counters import Counters
from tvix.mount.engines import fuse_protocol as fuse
from tvix.mount.engines.fuse_replies import Replies, answer, error
from tvix.mount.flights import Flights, Stalled
from tvix.mount.node_table import DIRECTORY, EXECUTABLE, FILE, NO_DIGEST, ROOT, SYMLINK
from tvix.mount.source import read_exactly
from tvix.nix_compat.store_path import InvalidStorePath, parse_basename

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tvix.castore.blobs.interface import BlobReader, Buffer
    from tvix.castore.directory import Directory
    from tvix.mount.source import Source
    from tvix.mount.tree import Tree
    from tvix.store.path_info import PathInfo

    Reply = bytes | list[Buffer]
    Handler = Callable[[int, int, memoryview], Reply | None]


WANTED = (
    fuse.ASYNC_READ
    | fuse.DO_READDIRPLUS
    | fuse.READDIRPLUS_AUTO
    | fuse.PARALLEL_DIROPS
    | fuse.MAX_PAGES
    | fuse.CACHE_SYMLINKS
    | fuse.NO_OPEN_SUPPORT
    | fuse.NO_OPENDIR_SUPPORT
)
_MAJOR, _MINOR, _MINOR_LEAST = 7, 38, 28
_READ_AHEAD = 1 << 20
_BACKGROUND, _CONGESTION = 64, 48
_LISTINGS_MAX = 8
_STATS = b"user.tvix.stats"
_DIGEST_ATTRIBUTES = {
    DIRECTORY: (b"user.tvix.castore.directory.digest", b"user.snix.castore.directory.digest"),
    FILE: (b"user.tvix.castore.blob.digest", b"user.snix.castore.blob.digest"),
    EXECUTABLE: (b"user.tvix.castore.blob.digest", b"user.snix.castore.blob.digest"),
    SYMLINK: (),
}


class FuseSession:
    """One mount's conversation with the kernel over the descriptor `device`.

    `listing` lets the root of a whole store be listed. `send` takes a reply; it is `os.writev` to the device but in tests.
    """

    def __init__(
        self,
        device: int,
        tree: Tree,
        source: Source,
        *,
        uid: int = 0,
        gid: int = 0,
        listing: bool = False,
        deadline: float = 30.0,
        counters: Counters | None = None,
    ) -> None:
        self._device = device
        self._tree = tree
        self._source = source
        self._listing = listing
        self._replies = Replies(tree, uid, gid)
        self._flights = Flights(deadline)
        self._listings: dict[int, Sequence[tuple[bytes, int]]] = {}
        self._no_opendir = True
        self.counters = counters or Counters()
        self._handlers: list[Handler | None] = [None] * 256
        for operation, handler in (
            (fuse.LOOKUP, self._lookup),
            (fuse.GETATTR, self._getattr),
            (fuse.READLINK, self._readlink),
            (fuse.READ, self._read),
            (fuse.READDIR, self._readdir),
            (fuse.READDIRPLUS, self._readdirplus),
            (fuse.GETXATTR, self._getxattr),
            (fuse.LISTXATTR, self._listxattr),
            (fuse.STATFS, self._statfs),
            (fuse.OPENDIR, self._opendir),
            (fuse.INTERRUPT, self._interrupt),
            (fuse.INIT, self._init),
            (fuse.DESTROY, self._done),
            (fuse.RELEASE, self._done),
            (fuse.RELEASEDIR, self._done),
            (fuse.IOCTL, self._no_ioctl),
        ):
            self._handlers[operation] = handler

    def serve(self) -> None:
        """Answer until the file system is unmounted. Raises OSError where the device fails otherwise."""
        buffer = bytearray(fuse.REQUEST_BYTES)
        buffers = [buffer]
        request = memoryview(buffer)
        device, readv, respond, send = self._device, os.readv, self.respond, self.send
        try:
            while True:
                try:
                    length = readv(device, buffers)
                except OSError as failure:
                    if failure.errno == errno.ENODEV:
                        return
                    if failure.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                        continue  # the request was taken back before it was read
                    raise
                reply = respond(request[:length])
                if reply is not None:
                    send(reply)
        finally:
            self._flights.close()

    def send(self, reply: Reply) -> None:
        """Give a reply to the kernel in one call."""
        try:
            if isinstance(reply, bytes):
                os.write(self._device, reply)
            else:
                os.writev(self._device, reply)
        except OSError as failure:
            # ENOENT: whoever asked is gone. ENODEV: the file system is; the loop will see that too.
            if failure.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def respond(self, request: memoryview) -> Reply | None:
        """The reply to one request, or None where there is none or where it will be sent later."""
        try:
            length, operation, unique, node, _, _, _, _, _ = fuse.IN_HEADER.unpack_from(request)
        except MalformedRequest:
            return None
        if length != len(request):
            return error(unique, errno.EIO)
        self.counters.requests[operation & 63] += 1
        handler = self._handlers[operation & 255]
        if handler is None:
            return self._unhandled(operation, unique)
        try:
            reply: Reply | None = handler(unique, node, request)
        except Exception as failure:
            return self._failure(unique, failure)
        return reply

    def _unhandled(self, operation: int, unique: int) -> bytes | None:
        if operation in fuse.UNANSWERED:
            return None
        return error(unique, errno.EROFS if operation in fuse.WRITES else errno.ENOSYS)

    def _failure(self, unique: int, failure: Exception) -> bytes:
        """The reply for an exception."""
        if isinstance(failure, KeyError):
            return error(unique, errno.ESTALE)  # a node that was never given out
        if isinstance(failure, MalformedRequest):
            return error(unique, errno.EINVAL)
        self.counters.errors += 1
        text = str(failure) if isinstance(failure, TvixError) else f"{type(failure).__name__}: {failure}"
        self.counters.last_error = text if not isinstance(failure, Stalled) else "nothing came from far for too long"
        return error(unique, errno.EIO)

    def _board(self, key: tuple[str, bytes], unique: int, fetch: Callable[[], object], finish: Callable[[object], Reply]) -> None:
        """Answer a request once something has been fetched."""

        def passenger(landed: object | None, failure: Exception | None) -> None:
            try:
                if failure is not None:
                    raise failure
                reply = finish(landed)
            except Exception as reason:
                reply = self._failure(unique, reason)
            self.send(reply)

        self._flights.board(key, unique, fetch, passenger)

    # Names.

    def _names(self, node: int) -> dict[bytes, int] | None:
        """What is in a directory, None where that isn't near."""
        names = self._tree.names.get(node)
        if names is None:
            directory = self._source.near_directory(self._digest(node))
            if directory is not None:
                return self._tree.adopt(node, directory)
        return names

    def _digest(self, node: int) -> Digest:
        kind, _, _, _, digest = self._tree.table.record(node)
        if kind != DIRECTORY:
            raise NotADirectoryError
        return Digest(digest)

    def _with_names(self, unique: int, node: int, finish: Callable[[dict[bytes, int]], Reply]) -> Reply | None:
        """`finish` with what is in a directory, now or later."""
        names = self._names(node)
        if names is not None:
            return finish(names)
        digest = self._digest(node)
        if self._source.all_is_near:
            raise DirectoryNotFound(digest=print_digest(digest))

        def landed(directories: object) -> Reply:
            directory: Directory = directories[digest]  # type: ignore[index]
            return finish(self._tree.adopt(node, directory))

        self._board(("directory", digest), unique, lambda: self._source.fetch_directories(digest), landed)
        return None

    def _lookup(self, unique: int, node: int, request: memoryview) -> Reply | None:
        name = bytes(request[fuse.HEADER_BYTES : -1])
        names = self._tree.names.get(node)
        if names is not None:
            number = names.get(name)
            if number is not None:
                return self._replies.entry(unique, number)
            if node == ROOT and self._tree.is_store:
                return self._lookup_path(unique, name)
            return self._replies.no_entry(unique)

        def finish(names: dict[bytes, int]) -> Reply:
            number = names.get(name)
            return self._replies.no_entry(unique) if number is None else self._replies.entry(unique, number)

        return self._with_names(unique, node, finish)

    def _lookup_path(self, unique: int, basename: bytes) -> Reply | None:
        try:
            path = parse_basename(basename)
        except InvalidStorePath:
            return error(unique, errno.ENOENT)

        def finish(found: object) -> Reply:
            info: PathInfo | None = found  # type: ignore[assignment]
            if info is None or info.path != path:
                return error(unique, errno.ENOENT)  # and the kernel asks again: it may be imported any time
            return self._replies.entry(unique, self._tree.adopt_path(basename, info.node))

        near = self._source.near_path(path.digest)
        if near is not None or self._source.all_is_near:
            return finish(near)
        self._board(("path", path.digest), unique, lambda: self._source.fetch_path(path.digest), finish)
        return None

    def _opendir(self, unique: int, _node: int, _request: memoryview) -> Reply:
        if self._no_opendir:
            return error(unique, errno.ENOSYS)
        return answer(unique, fuse.OPEN_OUT.pack(0, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR, 0))

    def _readdir(self, unique: int, node: int, request: memoryview) -> Reply | None:
        return self._list(unique, node, request, plus=False)

    def _readdirplus(self, unique: int, node: int, request: memoryview) -> Reply | None:
        return self._list(unique, node, request, plus=True)

    def _list(self, unique: int, node: int, request: memoryview, plus: bool) -> Reply | None:
        _, offset, room = fuse.READ_IN.unpack_from(request, fuse.HEADER_BYTES)
        if node == ROOT and self._tree.is_store:
            return self._list_store(unique, offset, room, plus)

        def finish(names: dict[bytes, int]) -> Reply:
            items = self._listings.get(node)
            if items is None:
                items = list(names.items())
                while len(self._listings) >= _LISTINGS_MAX:
                    del self._listings[next(iter(self._listings))]
                self._listings[node] = items
            return self._replies.listing(unique, node, items, offset, room, plus)

        return self._with_names(unique, node, finish)

    def _list_store(self, unique: int, offset: int, room: int, plus: bool) -> Reply | None:
        if not self._listing:
            return error(unique, errno.EPERM)

        def finish(infos: object) -> Reply:
            for info in infos:  # type: ignore[attr-defined]
                self._tree.adopt_path(info.path.basename.encode(), info.node)
            items = list(self._tree.names[ROOT].items())
            return self._replies.listing(unique, ROOT, items, offset, room, plus)

        if offset:
            return finish(())
        if self._source.all_is_near:
            return finish(self._source.list_paths())
        self._board(("list", b""), unique, self._source.list_paths, finish)
        return None

    # Attributes and contents.

    def _getattr(self, unique: int, node: int, _request: memoryview) -> Reply:
        return self._replies.attributes(unique, node)

    def _readlink(self, unique: int, node: int, _request: memoryview) -> Reply:
        if self._tree.table.record(node)[0] != SYMLINK:
            return error(unique, errno.EINVAL)
        return answer(unique, self._tree.target(node))

    def _read(self, unique: int, node: int, request: memoryview) -> Reply | None:
        _, offset, length = fuse.READ_IN.unpack_from(request, fuse.HEADER_BYTES)
        kind, _, _, size, raw = self._tree.table.record(node)
        if kind not in (FILE, EXECUTABLE):
            return error(unique, errno.EISDIR if kind == DIRECTORY else errno.EINVAL)
        length = min(length, size - offset)
        if length <= 0:
            return answer(unique, b"")
        digest = Digest(raw)

        def finish(found: object) -> Reply:
            reader: BlobReader = found  # type: ignore[assignment]
            contents = read_exactly(reader, digest, offset, length)
            self.counters.bytes_read += length
            return [fuse.OUT_HEADER.pack(fuse.OUT_HEADER.size + length, 0, unique), contents]

        near = self._source.near_reader(digest, size)
        if near is not None:
            return finish(near)
        if self._source.all_is_near:
            return finish(self._source.fetch_reader(digest, size))
        self._board(("blob", digest), unique, lambda: self._source.fetch_reader(digest, size), finish)
        return None

    def _getxattr(self, unique: int, node: int, request: memoryview) -> Reply:
        room, _ = fuse.GETXATTR_IN.unpack_from(request, fuse.HEADER_BYTES)
        name = bytes(request[fuse.HEADER_BYTES + fuse.GETXATTR_IN.size : -1])
        kind, _, _, _, digest = self._tree.table.record(node)
        if name in _DIGEST_ATTRIBUTES[kind] and digest != NO_DIGEST:
            return _sized(unique, room, print_digest(Digest(digest)).encode())
        if name == _STATS and node == ROOT:
            return _sized(unique, room, self.stats())
        return error(unique, errno.ENODATA)

    def _listxattr(self, unique: int, node: int, request: memoryview) -> Reply:
        room, _ = fuse.GETXATTR_IN.unpack_from(request, fuse.HEADER_BYTES)
        kind, _, _, _, digest = self._tree.table.record(node)
        names = _DIGEST_ATTRIBUTES[kind] if digest != NO_DIGEST else ()
        return _sized(unique, room, b"".join(name + b"\0" for name in names))

    def stats(self) -> bytes:
        """The counters as JSON."""
        import json

        return json.dumps({**self.counters.as_json(fuse.NAMES), "waiting": self._flights.waiting()}).encode()

    def _statfs(self, unique: int, _node: int, _request: memoryview) -> Reply:
        blocks = (self._tree.bytes_known + 4095) >> 12
        return answer(unique, fuse.STATFS_OUT.pack(blocks, 0, 0, self._tree.table.count - 1, 0, 4096, 255, 4096, 0))

    # The conversation itself.

    def _init(self, unique: int, _node: int, request: memoryview) -> Reply:
        major, minor, _, offered = fuse.INIT_IN.unpack_from(request, fuse.HEADER_BYTES)
        if major < _MAJOR or (major == _MAJOR and minor < _MINOR_LEAST):
            return error(unique, errno.EPROTO)
        self._no_opendir = bool(offered & fuse.NO_OPENDIR_SUPPORT)
        reply = fuse.INIT_OUT.pack(
            _MAJOR, min(minor, _MINOR) if major == _MAJOR else _MINOR, _READ_AHEAD, offered & WANTED,
            _BACKGROUND, _CONGESTION, fuse.MAX_WRITE, 1, fuse.MAX_PAGES_PER_READ, 0, 0, 0,
        )  # fmt: skip
        return answer(unique, reply)

    def _interrupt(self, _unique: int, _node: int, request: memoryview) -> Reply | None:
        (meant,) = fuse.INTERRUPT_IN.unpack_from(request, fuse.HEADER_BYTES)
        if self._flights.leave(meant) is not None:
            return error(meant, errno.EINTR)
        return None

    def _done(self, unique: int, _node: int, _request: memoryview) -> Reply:
        return answer(unique, b"")

    def _no_ioctl(self, unique: int, _node: int, _request: memoryview) -> Reply:
        return error(unique, errno.ENOTTY)  # isatty() asks this of every file; ENOSYS wouldn't be remembered either


def _sized(unique: int, room: int, value: bytes) -> bytes:
    """The reply to a request for an extended attribute, whose caller may only want to know its length."""
    if room == 0:
        return answer(unique, fuse.GETXATTR_OUT.pack(len(value), 0))
    return error(unique, errno.ERANGE) if len(value) > room else answer(unique, value)
