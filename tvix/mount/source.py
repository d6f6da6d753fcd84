"""Where a mount gets directories, contents and path infos from: what is near at once, the rest by asking for it.

Three kinds: a store that has everything near (`tvix.mount.local_source`), a far store behind a near one, whose calls block and so
are made by a few threads (`tvix.mount.threaded_source`), and a server of our own protocol, whose connection the mount's one loop
polls beside the kernel (`tvix.mount.polled_source`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tvix.castore.blobs.interface import CorruptBlob
from tvix.castore.digests import print_digest
from tvix.errors import EX_NOINPUT, TvixError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tvix.castore.blobs.interface import BlobReader, Buffer
    from tvix.castore.digests import Digest
    from tvix.castore.directory import Directory
    from tvix.mount.tree import Tree
    from tvix.nix_compat.signatures import VerifyingKey
    from tvix.nix_compat.store_path import StorePath, StorePathDigest
    from tvix.store.path_info import PathInfo

Done = Callable[[object], None]
"""Called once: with what was asked for, or with the exception that says why it can't be had."""


class Source(Protocol):
    """What is near is asked for by one thread, the loop's. `ticket` is a name by which to `leave`.

    An asker's `done` is called by whichever thread knows, maybe before the method that took it returns.
    """

    @property
    def polled(self) -> Polled | None:
        """What the loop must look at beside the kernel."""

    @property
    def read_ahead_kib(self) -> int:
        """How far the kernel should read ahead in files."""

    def watch(self, tree: Tree) -> None:
        """The tree whose files are read, for who asks for what is likely to be read next."""

    def near_directory(self, digest: Digest) -> Directory | None:
        """The directory if it is near."""

    def near_path(self, digest: StorePathDigest) -> PathInfo | None:
        """The path info if it is near."""

    def near_contents(self, digest: Digest, size: int, offset: int, length: int) -> Sequence[Buffer] | None:
        """A range of a file, which lies inside, in pieces, if it is near. Raises `WrongBlobSize`."""

    def ask_directory(self, ticket: int, digest: Digest, done: Done) -> None:
        """`done` with a `Directory`; what is below it comes near in the same go."""

    def ask_path(self, ticket: int, digest: StorePathDigest, done: Done) -> None:
        """`done` with a `PathInfo`, or None where the store doesn't have it."""

    def ask_paths(self, ticket: int, done: Done) -> None:
        """`done` with an iterable of every path info of the store."""

    def ask_contents(self, ticket: int, node: int, digest: Digest, size: int, offset: int, length: int, done: Done) -> None:
        """`done` with what `near_contents` gives. `node` is the file's number in the tree."""

    def leave(self, ticket: int) -> bool:
        """One who asked no longer waits; whether he did. His `done` won't be called."""

    def expire(self) -> None:
        """Let go of everyone who has waited too long. To be called about once a second while somebody waits."""

    def root(self, digest: Digest) -> Directory:
        """The directory at the root of a mount. May take a while. Raises `DirectoryNotFound`, and what the store raises."""

    def trusted_root(self, path: StorePath, keys: Sequence[VerifyingKey]) -> Digest:
        """The closure root of a store path that one of `keys` has signed. May take a while. Raises what
        `tvix.store.closure_roots.trust` raises."""

    def closure_of(self, path: StorePath) -> Directory:
        """The directory of a store path and all it refers to. May take a while. Raises `PathNotFound`, `MissingReference`."""

    def expect(self, path: StorePath) -> None:
        """Somebody is about to read this path of a whole store, and what it refers to. May take a while; raises nothing."""

    def counters(self) -> Mapping[str, object]:
        """What it counts besides, as JSON."""

    def close(self) -> None:
        """Start nothing more. What is under way goes on."""

    def join(self, seconds: float) -> None:
        """After `close`, and after the store was closed: wait for what is under way, but not for long."""


class Polled(Protocol):
    """A connection that lives in the loop's thread."""

    def descriptors(self) -> Iterable[tuple[int, int]]:
        """What to poll: descriptors, and for which events."""

    def timeout(self) -> float | None:
        """After how many seconds `turn` wants to be called although nothing happened; None for never."""

    def turn(self) -> bool:
        """Do what can be done without waiting, some 100 µs at most; whether anything was done."""

    @property
    def waits(self) -> bool:
        """Whether something is on its way."""


class BlobNotFound(TvixError):
    """A blob that a directory names is not in the store."""

    identifier = "mount.blob-not-found"
    message = "blob {digest} is not in the store"
    hint = "its tree was stored only in part, or in another store"
    exit_code = EX_NOINPUT


class WrongBlobSize(TvixError):
    """A directory says of a file that it has another size than its blob."""

    identifier = "mount.wrong-blob-size"
    message = "blob {digest} has {actual} bytes where a directory says {said}"
    hint = "whoever made the directory is wrong or lies; import the path again"
    exit_code = CorruptBlob.exit_code


class Stalled(Exception):
    """Nothing came from far for the length of the deadline."""


def read_exactly(reader: BlobReader, digest: Digest, offset: int, length: int) -> Buffer:
    """`length` bytes from `offset`, which must lie inside. Raises `WrongBlobSize` where the reader gives fewer."""
    contents = reader.read_at(offset, length)
    if len(contents) != length:
        raise WrongBlobSize(digest=print_digest(digest), actual=offset + len(contents), said=offset + length)
    return contents


def check_size(reader: BlobReader, digest: Digest, size: int) -> BlobReader:
    """The reader, if the blob has that size. Raises `WrongBlobSize`."""
    if reader.size != size:
        actual = reader.size
        reader.close()
        raise WrongBlobSize(digest=print_digest(digest), actual=actual, said=size)
    return reader
