"""Directories in a store server: one of ours, with few round trips, or any that speaks the published protocol."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from tvix.castore.blobs.interface import CorruptBlob, StoreUnavailable
from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.directories.interface import CorruptDirectory, IncompleteClosure
from tvix.castore.directories.order import Sizes, children_first, parents_first, sizes_of
from tvix.castore.directory import Directory, InvalidDirectory
from tvix.castore.grpc_messages import decode_digest, encode_digest, encode_digest_and_flag
from tvix.castore.remote_channel import DIRECTORIES, Channel
from tvix.castore.remote_errors import Absent, StoreFailed
from tvix.castore.transfer.fetch_many import fetch_closure, fetch_many
from tvix.castore.transfer.questions import ask_missing


class RemoteDirectoryService:
    """A `DirectoryService`."""

    verifies = True
    """What is handed out has been held to its digest, its parents' sizes, and the rules of the encoding."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._sends_known = True  # whether children that the server has may be left out of a `Put`

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `DirectoryService`: one call, or one call each, many at a time."""
        wanted = dict.fromkeys(digests)
        if len(wanted) > 1 and self._channel.offers("missing"):
            return ask_missing(self._channel, list(wanted), directories=True)
        return wanted.keys() - self.get_many(wanted).keys()

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        """See `DirectoryService`: one call, or one call each, many at a time."""
        wanted = list(dict.fromkeys(digests))
        if len(wanted) > 1 and self._channel.extended:
            return self._fetch_many(wanted)
        answers = self._channel.unary_many(DIRECTORIES, "Get", [encode_digest(digest) for digest in wanted])
        return {
            digest: self._checked(digest, encoded) for digest, encoded in zip(wanted, answers, strict=True) if encoded is not None
        }

    def closure(self, root: Digest) -> Iterator[Directory]:
        """See `DirectoryService`: one call. Raises `CorruptDirectory`, `WrongDirectorySize`, `IncompleteClosure`."""
        return parents_first(root, self._tell(root), self._channel.origin)

    def put(self, directories: Iterable[Directory]) -> Digest:
        """See `DirectoryService`. Durable when this returns.

        The published protocol wants a child sent in the same stream, even one that the server has. Servers of ours know better and
        are spared that; a server that refuses is sent everything, from then on at once.
        """
        elsewhere: dict[Digest, None] = {}

        def stored(digests: Collection[Digest]) -> dict[Digest, Sizes]:
            found = self.get_many(digests)
            elsewhere.update(dict.fromkeys(found))
            return {digest: sizes_of(directory) for digest, directory in found.items()}

        tree = list(children_first(directories, stored, self._channel.origin))
        if not tree:
            raise ValueError("no directories to store")
        root = tree[-1].digest
        self._channel.flush()
        if elsewhere and self._sends_known:
            try:
                self._send(tree, root)
            except StoreFailed:
                self._sends_known = False
            else:
                return root
        self._send([*self._fetch(elsewhere), *tree], root)
        return root

    def sync(self) -> None:
        """The server made everything durable before it answered."""

    def close(self) -> None:
        """End the channel."""
        self._channel.close()

    def _fetch_many(self, wanted: list[Digest]) -> dict[Digest, Directory]:
        found: dict[Digest, Directory] = {}
        try:
            for digest, encoded in zip(wanted, fetch_many(self._channel, wanted), strict=True):
                if encoded is not None:
                    found[digest] = self._decoded(bytes(encoded))
        except CorruptBlob as error:
            reason = f"hashes to {error.fields['actual']}"
            raise CorruptDirectory(digest=error.fields["digest"], origin=self._channel.origin, reason=reason) from None
        return found

    def _checked(self, digest: Digest, encoded: bytes) -> Directory:
        actual = digest_of(encoded)
        if actual != digest:
            reason = f"hashes to {print_digest(actual)}"
            raise CorruptDirectory(digest=print_digest(digest), origin=self._channel.origin, reason=reason)
        return self._decoded(encoded)

    def _tell(self, root: Digest) -> Iterator[Directory]:
        if self._channel.offers("closure"):
            return map(self._decoded, fetch_closure(self._channel, root))
        return self._tell_published(root)

    def _tell_published(self, root: Digest) -> Iterator[Directory]:
        request = encode_digest_and_flag(root, True)
        incoming = self._channel.stream(DIRECTORIES, "Get", request)
        try:
            while True:
                try:
                    encoded = incoming.next()
                except Absent:
                    return
                except StoreUnavailable:
                    if not incoming.broken:
                        raise
                    incoming = self._channel.stream(DIRECTORIES, "Get", request)  # what was told is told again, and passed over
                    continue
                if encoded is None:
                    return
                yield self._decoded(bytes(encoded))
        finally:
            incoming.cancel()

    def _decoded(self, encoded: bytes) -> Directory:
        try:
            return Directory.decode(encoded)
        except InvalidDirectory as error:
            digest = print_digest(digest_of(encoded))
            raise CorruptDirectory(digest=digest, origin=self._channel.origin, reason=f"is {error}") from None

    def _send(self, tree: list[Directory], root: Digest) -> None:
        answer = self._channel.send(DIRECTORIES, "Put", lambda: (directory.encoded for directory in tree))
        actual = decode_digest(answer, "PutDirectoryResponse")
        if actual != root:
            reason = f"was stored as {print_digest(actual)}"
            raise CorruptDirectory(digest=print_digest(root), origin=self._channel.origin, reason=reason)

    def _fetch(self, roots: Iterable[Digest]) -> list[Directory]:
        """The closures of directories that the server has, children before parents."""
        known: dict[Digest, Directory] = {}
        for root in roots:
            if root in known:
                continue
            closure = list(self.closure(root))
            if not closure:
                raise IncompleteClosure(digest=print_digest(root), missing=print_digest(root), origin=self._channel.origin)
            known.update((directory.digest, directory) for directory in reversed(closure) if directory.digest not in known)
        return list(known.values())
