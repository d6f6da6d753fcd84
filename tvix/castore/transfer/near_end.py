"""What a client keeps of what has come: a few MiB of the latest in memory, and everything near, which may forget or be full.

Nothing here is hashed: what is handed in has been verified, what near gives back was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from tvix.castore.addresses import Castore
from tvix.castore.blobs.contents import check_size
from tvix.castore.blobs.interface import (
    BlobReader,
    Buffer,
    BulkBlobService,
    Chunk,
    ChunkedBlobService,
    StoredBlob,
    StoredBlobService,
)
from tvix.castore.digests import Digest
from tvix.castore.directories.interface import CorruptDirectory
from tvix.castore.directory import Directory
from tvix.errors import TvixError

RECENT_BYTES = 8 << 20
STAGED_BYTES = 4 << 20
_READERS_MAX = 256


class NearEnd:
    """`near` and the latest items. A near end that fails is as good as one that forgets: `error` says how it last failed."""

    def __init__(self, near: Castore) -> None:
        self._blobs = near.blobs
        self._directories = near.directories
        self._recent: dict[Digest, Buffer] = {}
        self._recent_bytes = 0
        self.recent_max = RECENT_BYTES
        """How many bytes of the latest items are kept beside near."""
        self._staged: list[tuple[Digest, StoredBlob, Buffer]] = []
        self._staged_bytes = 0
        self._readers: dict[Digest, BlobReader] = {}
        self.takes_stored = isinstance(near.blobs, StoredBlobService)
        self._holds = not getattr(near.blobs, "forgets", True)
        self.error: TvixError | None = None

    def get(self, digest: Digest) -> Buffer | None:
        """A small blob or chunk, whole."""
        contents = self._recent.get(digest)
        if contents is None:
            try:
                for _digest, contents in self._blobs.read_many([digest]):
                    return contents
            except TvixError as error:
                self.error = error
        return contents

    def recent(self, digest: Digest) -> Buffer | None:
        """The same if it came lately."""
        return self._recent.get(digest)

    def read(self, digest: Digest, size: int, offset: int, length: int) -> Buffer | None:
        """A range of a blob that is near as a whole. Raises `WrongBlobSize`."""
        reader = self._readers.get(digest)
        try:
            if reader is None:
                reader = self._blobs.open(digest)
                if reader is None:
                    return None
                check_size(digest, size, reader.size)
                if self._holds:  # else a reader would keep what near has dropped
                    while len(self._readers) >= _READERS_MAX:
                        self._readers.pop(next(iter(self._readers))).close()
                    self._readers[digest] = reader
            else:
                check_size(digest, size, reader.size)
            return reader.read_at(offset, length)
        except (TvixError, OSError) as error:
            if reader is not None and reader.size != size:
                raise
            self._readers.pop(digest, None)
            if isinstance(error, TvixError):
                self.error = error
            return None

    def absent(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are neither near nor recent."""
        unknown = [digest for digest in digests if digest not in self._recent]
        try:
            return self._blobs.missing(unknown) if unknown else set()
        except TvixError as error:
            self.error = error
            return set(unknown)

    def keep(self, digest: Digest, contents: Buffer, stored: Buffer) -> None:
        """An item that was verified; `stored` is how it came."""
        size = len(contents)
        if digest not in self._recent:
            self._recent[digest] = contents
            self._recent_bytes += size
        self._staged.append((digest, StoredBlob(size, stored), contents))
        self._staged_bytes += len(stored)
        if self._staged_bytes >= STAGED_BYTES:
            self.settle()

    @property
    def unsettled(self) -> bool:
        """Whether anything is to be written."""
        return bool(self._staged)

    def settle(self) -> None:
        """Write near what has come since: many at a time, and when nothing more urgent is to do."""
        staged, self._staged = self._staged, []
        self._staged_bytes = 0
        if staged:
            try:
                self._put(staged)
            except (TvixError, OSError) as error:  # it was verified, and can be read without being kept
                if isinstance(error, TvixError):
                    self.error = error
        recent = self._recent
        while self._recent_bytes > self.recent_max and len(recent) > 1:
            self._recent_bytes -= len(recent.pop(next(iter(recent))))

    def _put(self, staged: Iterable[tuple[Digest, StoredBlob, Buffer]]) -> None:
        blobs = self._blobs
        if isinstance(blobs, StoredBlobService):
            blobs.put_stored([(digest, stored) for digest, stored, _contents in staged])
        elif isinstance(blobs, BulkBlobService):
            blobs.put_many([(digest, bytes(contents)) for digest, _stored, contents in staged])
        else:
            for _digest, _stored, contents in staged:
                blobs.put(contents)

    def keep_list(self, digest: Digest, chunks: Sequence[Chunk]) -> bool:
        """Keep a large blob that was verified and whose chunks came here. Whether near can do that."""
        self.settle()
        try:
            return isinstance(self._blobs, ChunkedBlobService) and self._blobs.put_chunked(digest, chunks)
        except TvixError as error:
            self.error = error
            return False

    def chunks(self, digest: Digest) -> Sequence[Chunk] | None:
        """How a blob that is near is cut; empty for one piece."""
        try:
            return self._blobs.chunks(digest)
        except TvixError as error:
            self.error = error
            return None

    def directory(self, digest: Digest) -> Directory | None:
        """The directory, if it is near."""
        try:
            return self._directories.get_many([digest]).get(digest)
        except CorruptDirectory:
            raise
        except TvixError as error:
            self.error = error
            return None

    def keep_directories(self, directories: Iterable[Directory]) -> bool:
        """Keep a closure, children first. Whether near could."""
        try:
            self._directories.put(directories)
        except (TvixError, OSError) as error:
            if isinstance(error, TvixError):
                self.error = error
            return False
        return True

    def close(self) -> None:
        """Write what is to be written, and let go of the readers."""
        self.settle()
        while self._readers:
            self._readers.popitem()[1].close()
