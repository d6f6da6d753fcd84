"""The operations of the portable engine: names, attributes and contents out of a tree and its source."""

from __future__ import annotations

import errno
from itertools import count
from typing import TYPE_CHECKING

import pyfuse3
import trio

from tvix.castore.digests import Digest
from tvix.errors import TvixError
from tvix.mount import extended_attributes
from tvix.mount.engines import fuse_protocol as fuse
from tvix.mount.engines.fuse_replies import MODES
from tvix.mount.node_table import DIRECTORY, EXECUTABLE, FILE, ROOT, SYMLINK
from tvix.mount.source import Stalled
from tvix.nix_compat.store_path import InvalidStorePath, parse_basename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from pyfuse3 import FileHandleT, FileInfo, FileNameT, FlagT, InodeT, ReaddirToken, RequestContext, XAttrNameT

    from tvix.castore.directory import Directory
    from tvix.mount.counters import Counters
    from tvix.mount.source import Done, Source
    from tvix.mount.tree import Tree
    from tvix.store.path_info import PathInfo

_FOREVER = float(fuse.FOREVER)
_MTIME_NS = 1_000_000_000
"""One second, as Nix has it; see `tvix.mount.engines.fuse_replies`."""
_SIZE_MAX = (1 << 63) - 1


class Answers(pyfuse3.Operations):
    """What pyfuse3 calls. Node numbers serve as inodes and, since nothing is ever forgotten, as file handles."""

    enable_writeback_cache = False

    def __init__(
        self,
        tree: Tree,
        source: Source,
        counters: Counters,
        stats: Callable[[], bytes],
        *,
        uid: int,
        gid: int,
        listing: bool,
    ) -> None:
        super().__init__()
        self.waiting = 0
        """Requests that wait for something from far."""
        self.activity = trio.Event()
        """Set by every request."""
        self.asked: Callable[[], object] = bool
        """Called after the source was asked for something."""
        self._tree = tree
        self._source = source
        self._counters = counters
        self._stats = stats
        self._uid = uid
        self._gid = gid
        self._listing = listing
        self._tickets = count(1)
        self._listings: dict[int, Sequence[tuple[bytes, int]]] = {}
        self._token: trio.lowlevel.TrioToken | None = None

    def begin(self, token: trio.lowlevel.TrioToken) -> None:
        """The loop runs: answers of other threads go there by `token`."""
        self._token = token

    # What every operation shares.

    def _counted(self, operation: int) -> AbstractContextManager[None]:
        self._counters.requests[operation] += 1
        self.activity.set()
        return _Answered(self._counters)

    async def _ask(self, ask: Callable[[int, Done], None]) -> object:
        """What `ask` has its `Done` called with. Raises it where it is an exception."""
        landed = trio.Event()
        ticket = next(self._tickets)
        result: object = None

        def land(found: object) -> None:
            nonlocal result
            result = found
            landed.set()

        def done(found: object) -> None:
            assert self._token is not None
            try:
                self._token.run_sync_soon(land, found)
            except trio.RunFinishedError:  # the mount has ended meanwhile
                return

        self.waiting += 1
        try:
            ask(ticket, done)
            self.asked()
            await landed.wait()
        except trio.Cancelled:
            self._source.leave(ticket)
            raise
        finally:
            self.waiting -= 1
        if isinstance(result, Exception):
            raise result
        return result

    def _attributes(self, number: int) -> pyfuse3.EntryAttributes:
        kind, _, _, size, _ = self._tree.table.record(number)
        if size > _SIZE_MAX:
            raise ValueError("a file claims more bytes than any can have")
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(number)
        entry.entry_timeout = entry.attr_timeout = _FOREVER
        entry.st_mode = pyfuse3.ModeT(MODES[kind])
        entry.st_nlink = 1
        entry.st_uid = self._uid
        entry.st_gid = self._gid
        entry.st_size = size
        entry.st_blksize = 4096
        entry.st_blocks = (size + 511) >> 9
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = _MTIME_NS
        return entry

    # Names.

    async def _names(self, node: int) -> dict[bytes, int]:
        names = self._tree.names.get(node)
        if names is not None:
            return names
        kind, _, _, _, raw = self._tree.table.record(node)
        if kind != DIRECTORY:
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        digest = Digest(raw)
        directory = self._source.near_directory(digest)
        if directory is None:
            found: Directory = await self._ask(  # type: ignore[assignment]
                lambda ticket, done: self._source.ask_directory(ticket, digest, done)
            )
            directory = found
        return self._tree.adopt(node, directory)

    async def _path(self, basename: bytes) -> int:
        """The number of a store path, 0 where there is none, as yet."""
        try:
            path = parse_basename(basename)
        except InvalidStorePath:
            return 0
        info = self._source.near_path(path.digest)
        if info is None:
            found: PathInfo | None = await self._ask(  # type: ignore[assignment]
                lambda ticket, done: self._source.ask_path(ticket, path.digest, done)
            )
            info = found
        if info is None or info.path != path:
            return 0
        return self._tree.adopt_path(basename, info.node)

    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> pyfuse3.EntryAttributes:  # noqa: ARG002
        """See `pyfuse3.Operations`. That a name isn't there holds for ever, but for store paths, which may be imported any time."""
        with self._counted(fuse.LOOKUP):
            number = (await self._names(parent_inode)).get(name, 0)
            if number:
                return self._attributes(number)
            if parent_inode == ROOT and self._tree.is_store:
                number = await self._path(name)
                if not number:
                    raise pyfuse3.FUSEError(errno.ENOENT)
                return self._attributes(number)
            entry = pyfuse3.EntryAttributes()
            entry.st_ino = pyfuse3.InodeT(0)
            entry.entry_timeout = _FOREVER
            return entry

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:  # noqa: ARG002
        """See `pyfuse3.Operations`."""
        with self._counted(fuse.OPENDIR):
            if inode == ROOT and self._tree.is_store and not self._listing:
                raise pyfuse3.FUSEError(errno.EPERM)
            return pyfuse3.FileHandleT(inode)

    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        """See `pyfuse3.Operations`."""
        with self._counted(fuse.READDIRPLUS):
            node = int(fh)
            if start_id == 0 and node == ROOT and self._tree.is_store:
                paths: Iterable[PathInfo] = await self._ask(self._source.ask_paths)  # type: ignore[assignment]
                for info in paths:
                    self._tree.adopt_path(info.path.basename.encode(), info.node)
                names = self._tree.names[ROOT]
            else:
                names = await self._names(node)
            items = self._listings.pop(node, None) if start_id else None
            if items is None or len(items) != len(names):
                items = list(names.items())
            for position in range(start_id, len(items)):
                name, number = items[position]
                if not pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), self._attributes(number), position + 1):
                    self._listings[node] = items  # more will be asked for
                    return

    # Attributes and contents.

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> pyfuse3.EntryAttributes:  # noqa: ARG002
        """See `pyfuse3.Operations`."""
        with self._counted(fuse.GETATTR):
            return self._attributes(inode)

    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:  # noqa: ARG002
        """See `pyfuse3.Operations`."""
        with self._counted(fuse.READLINK):
            if self._tree.table.record(inode)[0] != SYMLINK:
                raise pyfuse3.FUSEError(errno.EINVAL)
            return pyfuse3.FileNameT(self._tree.target(inode))

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:  # noqa: ARG002
        """See `pyfuse3.Operations`. What the kernel has of the contents stays good."""
        with self._counted(fuse.OPEN):
            return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), keep_cache=True)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """See `pyfuse3.Operations`."""
        with self._counted(fuse.READ):
            node = int(fh)
            kind, _, _, length, raw = self._tree.table.record(node)
            if kind not in (FILE, EXECUTABLE):
                raise pyfuse3.FUSEError(errno.EISDIR)
            wanted = min(size, length - off)
            if wanted <= 0:
                return b""
            digest = Digest(raw)
            pieces = self._source.near_contents(digest, length, off, wanted)
            if pieces is None:
                pieces = await self._ask(  # type: ignore[assignment]
                    lambda ticket, done: self._source.ask_contents(ticket, node, digest, length, off, wanted, done)
                )
            self._counters.bytes_read += wanted
            assert pieces is not None
            return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    async def release(self, fh: FileHandleT) -> None:
        """See `pyfuse3.Operations`."""

    async def releasedir(self, fh: FileHandleT) -> None:
        """See `pyfuse3.Operations`."""
        self._listings.pop(int(fh), None)

    async def flush(self, fh: FileHandleT) -> None:
        """See `pyfuse3.Operations`."""

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """See `pyfuse3.Operations`. Numbers stay what they are."""

    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:  # noqa: ARG002
        """See `pyfuse3.Operations`."""
        with self._counted(fuse.GETXATTR):
            kind, _, _, _, digest = self._tree.table.record(inode)
            value = extended_attributes.value(name, kind, digest)
            if value is not None:
                return value
            if name == extended_attributes.STATS and inode == ROOT:
                return self._stats()
            raise pyfuse3.FUSEError(errno.ENODATA if name.startswith(b"user.") else errno.EOPNOTSUPP)

    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:  # noqa: ARG002
        """See `pyfuse3.Operations`."""
        with self._counted(fuse.LISTXATTR):
            kind, _, _, _, digest = self._tree.table.record(inode)
            return [pyfuse3.XAttrNameT(name) for name in extended_attributes.names(kind, digest)]

    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:  # noqa: ARG002
        """See `pyfuse3.Operations`."""
        with self._counted(fuse.STATFS):
            status = pyfuse3.StatvfsData()
            status.f_bsize = status.f_frsize = 4096
            status.f_blocks = (self._tree.bytes_known + 4095) >> 12
            status.f_bfree = status.f_bavail = 0
            status.f_files = self._tree.table.count - 1
            status.f_ffree = status.f_favail = 0
            status.f_namemax = 255
            return status


class _Answered:
    """Makes what an operation raises an error that pyfuse3 passes on; anything else would end the session."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: type[BaseException] | None, failure: BaseException | None, _trace: object) -> None:
        if failure is None or isinstance(failure, pyfuse3.FUSEError) or not isinstance(failure, Exception):
            return
        if isinstance(failure, KeyError):
            raise pyfuse3.FUSEError(errno.ESTALE) from None  # a node that was never given out
        self._counters.errors += 1
        if isinstance(failure, Stalled):
            self._counters.last_error = "nothing came from far for too long"
        else:
            self._counters.last_error = str(failure) if isinstance(failure, TvixError) else f"{type(failure).__name__}: {failure}"
        raise pyfuse3.FUSEError(errno.EIO) from None
