"""Answers to the kernel's questions about names, attributes and contents: at once from what is near, else once it has come."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from tvix.castore.digests import Digest
from tvix.mount import extended_attributes
from tvix.mount.engines import fuse_protocol as fuse
from tvix.mount.engines.fuse_lookahead import LookAhead
from tvix.mount.engines.fuse_replies import FULL, LEAN, PLAIN, Replies, answer, error
from tvix.mount.node_table import DIRECTORY, EXECUTABLE, FILE, ROOT, SYMLINK
from tvix.nix_compat.store_path import InvalidStorePath, parse_basename

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from tvix.castore.blobs.interface import Buffer
    from tvix.castore.directory import Directory
    from tvix.mount.source import Done, Source
    from tvix.mount.tree import Tree
    from tvix.store.path_info import PathInfo

    Reply = bytes | list[Buffer]
    Handler = Callable[[int, int, memoryview], Reply | None]

    class Session(Protocol):
        """What answers need of the conversation that they are part of."""

        def later(self, unique: int, ask: Callable[[Done], None], finish: Callable[[object], Reply]) -> None:
            """Answer a request once what `ask` asks for is here."""

        def count_read(self, length: int) -> None:
            """So many bytes of a file go to the kernel."""

        def notify(self, code: int, payload: bytes) -> None:
            """Tell the kernel something unasked."""

        def stats(self) -> bytes:
            """The counters as JSON."""


_LISTINGS_MAX = 8
_EAGER_LISTINGS = 64
"""A listing tells the attributes of directories alone, since who walks a tree seldom wants more and the kernel pays for each. Once
somebody looks up what was just listed, this many directories are listed with everything."""


class Answers:
    """The operations that concern the tree; `handlers` has them by code.

    A handler takes unique, node and the whole request. It gives the reply, or None where it will be sent later. What it raises
    becomes an error: KeyError is a node that was never given out, `struct.error` a request cut short, anything else EIO.
    """

    def __init__(self, tree: Tree, source: Source, session: Session, *, uid: int, gid: int, listing: bool) -> None:
        self._tree = tree
        self._source = source
        self._session = session
        self._listing = listing
        self._replies = Replies(tree, uid, gid)
        self._listings: dict[int, Sequence[tuple[bytes, int]]] = {}
        self._eager = 0
        self._ahead = LookAhead(tree, source, self._replies)
        self.idle = self._ahead.step
        """To be called when there is nothing to answer; False says that there is nothing to prepare either."""
        self.handlers: dict[int, Handler] = {
            fuse.LOOKUP: self._lookup,
            fuse.GETATTR: self._getattr,
            fuse.READLINK: self._readlink,
            fuse.READ: self._read,
            fuse.READDIR: self._readdir,
            fuse.READDIRPLUS: self._readdirplus,
            fuse.GETXATTR: self._getxattr,
            fuse.LISTXATTR: self._listxattr,
            fuse.STATFS: self._statfs,
        }

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

        def landed(found: object) -> Reply:
            directory: Directory = found  # type: ignore[assignment]
            return finish(self._tree.adopt(node, directory))

        self._session.later(unique, lambda done: self._source.ask_directory(unique, digest, done), landed)
        return None

    def _lookup(self, unique: int, node: int, request: memoryview) -> Reply | None:
        name = bytes(request[fuse.HEADER_BYTES : -1])
        names = self._tree.names.get(node)
        if names is not None:
            number = names.get(name)
            if number is not None:
                if node in self._listings and not self._eager:
                    self._eager = _EAGER_LISTINGS
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
        if near is not None:
            return finish(near)
        self._session.later(unique, lambda done: self._source.ask_path(unique, path.digest, done), finish)
        return None

    def _readdir(self, unique: int, node: int, request: memoryview) -> Reply | None:
        return self._list(unique, node, request, detail=PLAIN)

    def _readdirplus(self, unique: int, node: int, request: memoryview) -> Reply | None:
        return self._list(unique, node, request, detail=FULL if self._eager else LEAN)

    def _list(self, unique: int, node: int, request: memoryview, detail: int) -> Reply | None:
        _, offset, room = fuse.READ_IN.unpack_from(request, fuse.HEADER_BYTES)
        if node == ROOT and self._tree.is_store:
            return self._list_store(unique, offset, room, detail)
        known = self._tree.names.get(node)
        if known is not None and offset == len(known) + 2:
            return answer(unique, b"")  # every listing ends with this question
        if offset == 0:
            self._ahead.listed(node, room)
            prepared = self._ahead.take(node, room)
            if prepared is not None and detail == LEAN:
                self._keep_listing(node, prepared.items)
                return fuse.OUT_HEADER.pack(len(prepared.reply), 0, unique) + prepared.reply[fuse.OUT_HEADER.size :]

        def finish(names: dict[bytes, int]) -> Reply:
            items = self._listings.get(node)
            if items is None:
                items = list(names.items())
                self._keep_listing(node, items)
                if self._eager and detail:
                    self._eager -= 1
            return self._replies.listing(unique, node, items, offset, room, detail)

        return self._with_names(unique, node, finish)

    def _keep_listing(self, node: int, items: Sequence[tuple[bytes, int]]) -> None:
        while len(self._listings) >= _LISTINGS_MAX:
            del self._listings[next(iter(self._listings))]
        self._listings[node] = items

    def _list_store(self, unique: int, offset: int, room: int, detail: int) -> Reply | None:
        if not self._listing:
            return error(unique, errno.EPERM)

        def finish(infos: object) -> Reply:
            for info in infos:  # type: ignore[attr-defined]
                self._tree.adopt_path(info.path.basename.encode(), info.node)
            items = list(self._tree.names[ROOT].items())
            return self._replies.listing(unique, ROOT, items, offset, room, detail)

        if offset:
            if offset - 2 >= len(self._tree.names[ROOT]):
                # The kernel keeps what a directory holds, but more paths may come: have it forget the listing that ends here.
                self._session.notify(fuse.NOTIFY_INVAL_INODE, fuse.INVAL_INODE_OUT.pack(ROOT, 0, 0))
            return finish(())
        self._session.later(unique, lambda done: self._source.ask_paths(unique, done), finish)
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

        near = self._source.near_contents(digest, size, offset, length)
        if near is not None:
            self._session.count_read(length)
            return [fuse.OUT_HEADER.pack(fuse.OUT_HEADER.size + length, 0, unique), *near]

        def finish(found: object) -> Reply:
            pieces: Sequence[Buffer] = found  # type: ignore[assignment]
            self._session.count_read(length)
            return [fuse.OUT_HEADER.pack(fuse.OUT_HEADER.size + length, 0, unique), *pieces]

        self._session.later(
            unique, lambda done: self._source.ask_contents(unique, node, digest, size, offset, length, done), finish
        )
        return None

    def _getxattr(self, unique: int, node: int, request: memoryview) -> Reply:
        room, _ = fuse.GETXATTR_IN.unpack_from(request, fuse.HEADER_BYTES)
        name = bytes(request[fuse.HEADER_BYTES + fuse.GETXATTR_IN.size : -1])
        kind, _, _, _, digest = self._tree.table.record(node)
        value = extended_attributes.value(name, kind, digest)
        if value is not None:
            return _sized(unique, room, value)
        if name == extended_attributes.STATS and node == ROOT:
            return _sized(unique, room, self._session.stats())
        # Programs remember of a file system that it doesn't know a kind of attribute at all, and ask no more.
        return error(unique, errno.ENODATA if name.startswith(b"user.") else errno.EOPNOTSUPP)

    def _listxattr(self, unique: int, node: int, request: memoryview) -> Reply:
        room, _ = fuse.GETXATTR_IN.unpack_from(request, fuse.HEADER_BYTES)
        kind, _, _, _, digest = self._tree.table.record(node)
        return _sized(unique, room, b"".join(name + b"\0" for name in extended_attributes.names(kind, digest)))

    def _statfs(self, unique: int, _node: int, _request: memoryview) -> Reply:
        blocks = (self._tree.bytes_known + 4095) >> 12
        return answer(unique, fuse.STATFS_OUT.pack(blocks, 0, 0, self._tree.table.count - 1, 0, 4096, 255, 4096, 0))


def _sized(unique: int, room: int, value: bytes) -> bytes:
    """The reply to a request for an extended attribute, whose caller may only want to know its length."""
    if room == 0:
        return answer(unique, fuse.GETXATTR_OUT.pack(len(value), 0))
    return error(unique, errno.ERANGE) if len(value) > room else answer(unique, value)
