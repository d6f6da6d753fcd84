"""A closure of directories as frames: made once, compressed, and kept while many clients want the same.

What is kept is named by digests, so it stays true for ever, and its chunk lists are no more than hints. A closure of which
something is missing is sent as far as it goes and not kept: the client asks for the rest by name and learns what is missing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import NamedTuple

from tvix.castore.blobs.interface import BlobService, BulkBlobService, Chunk
from tvix.castore.chunking import single_bytes_max
from tvix.castore.digests import Digest
from tvix.castore.directories.interface import DirectoryService, IncompleteClosure
from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode
from tvix.castore.transfer.closure_message import ClosurePart, encode_closure_part
from tvix.castore.transfer.messages import DIRECTORIES, WHOLE_ZSTD, Frame, frame_head
from tvix.grpc_api.zstd_frames import ZstdFrames

PART_BYTES = 1 << 20
"""After so much a frame is closed."""
DIRECTORY_BYTES_MAX = 12 << 20
"""A larger directory is left out: no message could hold it."""
KEPT_BYTES = 32 << 20
ROOT_BYTES_MAX = 8 << 20
"""A closure that takes more than this isn't kept."""

_CHUNK_BYTES = 36


class Part(NamedTuple):
    """The payload of one frame, and how large it is decompressed; the same where it isn't compressed."""

    payload: bytes
    raw_size: int
    more: bool


class ClosureCache:
    """Shared by all calls. Bounded by `kept_bytes`; what was longest unused goes first."""

    def __init__(self, blobs: BlobService, directories: DirectoryService, kept_bytes: int = KEPT_BYTES) -> None:
        self._blobs = blobs
        self._directories = directories
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[Digest, Sequence[Part]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def frames(self, root: Digest, zstd: ZstdFrames, *, compressed: bool) -> Iterator[list[bytes]]:
        """Messages in pieces; of a root that isn't here one without directories. Plain ones for who can't decompress."""
        for part in self._parts(root, zstd):
            payload = part.payload
            if len(payload) != part.raw_size and not compressed:
                payload = zstd.unpack(payload, part.raw_size)
            packed = len(payload) != part.raw_size
            frame = Frame(kind=DIRECTORIES, root=root, more=part.more)
            if packed:
                frame = frame._replace(codec=WHOLE_ZSTD, raw_size=part.raw_size)
            yield [frame_head(frame, len(payload)), payload]

    @property
    def kept_bytes(self) -> int:
        """How much is kept now."""
        return self._bytes

    def _parts(self, root: Digest, zstd: ZstdFrames) -> Iterator[Part]:
        with self._lock:
            kept = self._kept.get(root)
            if kept is not None:
                self._kept.move_to_end(root)
        if kept is not None:
            yield from kept
            return
        made: list[Part] | None = []
        size = 0
        walk = _Walk(self._blobs, self._directories)
        for raw, more in walk.raw_parts(root):
            payload = zstd.pack(raw)
            part = Part(payload if len(payload) < len(raw) else raw, len(raw), more)
            size += len(part.payload)
            if made is not None:
                made.append(part)
                if size > ROOT_BYTES_MAX:
                    made = None
            yield part
        if made is not None and walk.complete:
            self._keep(root, made, size)

    def _keep(self, root: Digest, parts: Sequence[Part], size: int) -> None:
        with self._lock:
            if root in self._kept or size > self._kept_bytes:
                return
            self._kept[root] = parts
            self._bytes += size
            while self._bytes > self._kept_bytes:
                _root, dropped = self._kept.popitem(last=False)
                self._bytes -= sum(len(part.payload) for part in dropped)


class _Walk:
    """Goes through a closure once. `complete` says in the end whether nothing of it was missing."""

    def __init__(self, blobs: BlobService, directories: DirectoryService) -> None:
        self._blobs = blobs
        self._directories = directories
        self._single_max = blobs.single_bytes_max if isinstance(blobs, BulkBlobService) else single_bytes_max()
        self._listed: set[Digest] = set()
        self.complete = False

    def raw_parts(self, root: Digest) -> Iterator[tuple[bytes, bool]]:
        """Payloads, and whether another follows."""
        directories: list[bytes] = []
        lists: dict[Digest, Sequence[Chunk]] = {}
        size = 0
        for directory in self._whole(root):
            added = len(directory.encoded)
            if added > DIRECTORY_BYTES_MAX:
                self.complete = False
                continue
            if size and size + added > PART_BYTES:
                yield encode_closure_part(ClosurePart(directories, lists)), True
                directories, lists, size = [], {}, 0
            directories.append(directory.encoded)
            size += added
            for digest, chunks in self._chunk_lists(directory):
                lists[digest] = chunks
                size += _CHUNK_BYTES * (1 + len(chunks))
                if size > PART_BYTES:
                    yield encode_closure_part(ClosurePart(directories, lists)), True
                    directories, lists, size = [], {}, 0
        yield encode_closure_part(ClosurePart(directories, lists)), False

    def _whole(self, root: Digest) -> Iterator[Directory]:
        try:
            self.complete = not self._directories.missing((root,))
            yield from self._directories.closure(root)
        except IncompleteClosure:
            self.complete = False

    def _chunk_lists(self, directory: Directory) -> Iterator[tuple[Digest, Sequence[Chunk]]]:
        for node in directory.entries.values():
            if type(node) is not FileNode or node.size <= self._single_max or node.digest in self._listed:
                continue
            self._listed.add(node.digest)
            chunks = self._blobs.chunks(node.digest)
            if chunks:
                yield node.digest, chunks
            elif chunks is None:
                self.complete = False
