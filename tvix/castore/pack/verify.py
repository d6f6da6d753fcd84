"""Whether a pack store is whole: packs and index agree, every record is as it was written, and what refers finds what it refers to.

Everything is looked at, whatever is found wrong on the way. A directory without some of its blobs is what an interrupted import
leaves and not wrong, unless a path info needs it. In the near end of something nothing is wrong that refers to what isn't here: it
is fetched when it is needed. Both are counted. Kinds that are not known here have their records checked, not what they mean.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from blake3 import blake3

from tvix.castore.chunk_list import decode_chunks
from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.directories.order import Sizes, sizes_of
from tvix.castore.directory import Directory, InvalidDirectory
from tvix.castore.nodes import DirectoryNode, FileNode, Node
from tvix.castore.pack.format import (
    BLOB,
    CHUNK_LIST,
    DIRECTORY,
    HEADER_BYTES,
    HOT_SET,
    OVERHEAD_BYTES,
    PACKS_DIRECTORY,
    PATH_INFO,
    SIGNED_ROOT,
    TRAILER_BYTES,
    Location,
    index_key,
    pack_name,
    parse_header,
)
from tvix.castore.pack.store import PackStore
from tvix.errors import TvixError

KINDS = {
    BLOB: "blob",
    CHUNK_LIST: "chunk list",
    DIRECTORY: "directory",
    PATH_INFO: "path info",
    HOT_SET: "hot set",
    SIGNED_ROOT: "signed root",
}


@dataclass(frozen=True)
class Problem:
    """Something that is wrong: what kind of thing, which one, and why."""

    kind: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.reason}"


@dataclass
class Findings:
    """What a verification saw. `incomplete` counts what refers to something that isn't here and needn't be."""

    counts: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    incomplete: int = 0

    def count(self, kind: str) -> None:
        """One more of its kind was looked at."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def wrong(self, kind: str, name: str, reason: object) -> None:
        """Note a problem."""
        self.problems.append(Problem(kind, name, str(reason)))


class PackVerifier:
    """Looks through `store`; with `contents` every blob, large ones too, is hashed. `step` is told the bytes that were read."""

    def __init__(self, store: PackStore, findings: Findings, contents: bool, step: Callable[[int], None]) -> None:
        self._store = store
        self._findings = findings
        self._contents = contents
        self._step = step
        self._ends: dict[int, int | None] = {}
        self._sizes: dict[bytes, Sizes] = {}
        self._bad: set[bytes] = set()

    def run(self) -> None:
        """Everything but what path infos mean."""
        self._packs()
        for kind in self._store.index.kinds():
            for key, location in self._store.index.iterate(kind):
                self._record(kind, key, location)
        self._chunk_lists()
        for key in self.sound(DIRECTORY):
            self._references(Digest(key))

    def sound(self, kind: int) -> Iterator[bytes]:
        """The keys of those records of a kind that are as they were written."""
        return (key for key, _location in self._store.index.iterate(kind) if not self.is_bad(kind, key))

    def is_bad(self, kind: int, key: bytes) -> bool:
        """Whether something is wrong with a record by itself."""
        return index_key(kind, key) in self._bad

    def is_here(self, node: Node) -> bool | None:
        """Whether a node's directory or blob is here with the size that is said; None where it isn't and needn't be."""
        if type(node) is DirectoryNode:
            return self._answer(node.digest in self._sizes and node.size in self._sizes[node.digest], node.digest in self._sizes)
        if type(node) is FileNode:
            size = self._blob_sizes([node.digest]).get(node.digest)
            return self._answer(size == node.size, size is not None)
        return True

    def _answer(self, right: bool, present: bool) -> bool | None:
        return None if not right and not present and self._store.partial else right

    def _packs(self) -> None:
        """Every pack is records and nothing else, as far as the index says that it is committed."""
        packs = os.path.join(self._store.path, PACKS_DIRECTORY)
        for name in sorted(os.listdir(packs)):
            number = int(name.partition(".")[0], 16) if name.endswith(".pack") else -1
            end = self._end(number) if number >= 0 else None
            if end is None:
                continue  # a process died before it could say that it made it, or while it dropped it: nothing refers to it
            self._findings.count("pack")
            try:
                with open(os.path.join(packs, name), "rb", buffering=0) as file:
                    self._walk(name, file.fileno(), end)
            except FileNotFoundError:
                continue  # dropped since it was listed
            except OSError as error:
                self._findings.wrong("pack", name, error.strerror)

    def _walk(self, name: str, fd: int, end: int) -> None:
        size = os.fstat(fd).st_size
        if size < end:
            self._findings.wrong("pack", name, f"it has {size} bytes; {end} were committed")
        offset = 0
        while offset < min(size, end):
            header = os.pread(fd, HEADER_BYTES, offset)
            said = parse_header(header) if len(header) == HEADER_BYTES else None
            if said is None:
                self._findings.wrong("pack", name, f"there is no record at byte {offset}, where one should begin")
                return
            offset += said[1] + OVERHEAD_BYTES
        if offset > end:
            self._findings.wrong("pack", name, f"the last record ends at byte {offset}; {end} were committed")

    def _end(self, number: int) -> int | None:
        if number not in self._ends:
            self._ends[number] = self._store.index.end(number)
        return self._ends[number]

    def _record(self, kind: int, key: bytes, location: Location) -> None:
        what = KINDS.get(kind, f"record of kind {kind}")
        self._findings.count(what)
        number, offset, length, _ = location
        self._step(length)
        try:
            contents = self._store.payload(index_key(kind, key), location)
        except TvixError as error:
            if not self._store.partial or self._store.index.get(index_key(kind, key)) is not None:
                self._problem(kind, key, error)
            return
        end = self._end(number)
        if end is None or offset + length + TRAILER_BYTES > end:
            self._ends.pop(number, None)  # it may have grown since it was asked
            end = self._end(number)
            if end is None or offset + length + TRAILER_BYTES > end:
                self._problem(kind, key, f"it lies behind the committed end of {pack_name(number)}")
        if kind == DIRECTORY or (kind == BLOB and self._contents):
            actual = digest_of(contents)
            if actual != key:
                self._problem(kind, key, f"its contents hash to {print_digest(actual)}")
                return
        if kind == DIRECTORY:
            self._directory(Digest(key), bytes(contents))

    def _directory(self, digest: Digest, encoded: bytes) -> None:
        try:
            directory = Directory.decode(encoded)
        except InvalidDirectory as error:
            self._problem(DIRECTORY, digest, error)
            return
        self._sizes[digest] = sizes_of(directory)

    def _references(self, digest: Digest) -> None:
        """What a directory's entries stand for is here, with the sizes that they say."""
        encoded = self._store.get(DIRECTORY, digest)
        if encoded is None:
            return
        entries = Directory.trusted(digest, bytes(encoded)).entries
        sizes = self._blob_sizes({node.digest for node in entries.values() if type(node) is FileNode})
        lacking = False
        for name, node in entries.items():
            if type(node) is DirectoryNode:
                actual: Collection[int] = self._sizes.get(node.digest, ())
            elif type(node) is FileNode:
                actual = (sizes[node.digest],) if node.digest in sizes else ()
            else:
                continue
            if not actual and (self._store.partial or type(node) is FileNode):
                lacking = True
            elif not actual or node.size not in actual:
                said = f"is said to have size {node.size}, it has {min(actual)}" if actual else "is not in the store"
                self._problem(DIRECTORY, digest, f"{os.fsdecode(name)!r}, {print_digest(node.digest)}, {said}")
        self._findings.incomplete += lacking

    def _blob_sizes(self, digests: Collection[Digest]) -> dict[Digest, int]:
        """The sizes of those blobs that are here."""
        asked = list(digests)
        locations = self._store.locate([index_key(BLOB, digest) for digest in asked])
        sizes = {digest: where[3] or where[2] for digest, where in zip(asked, locations, strict=True) if where is not None}
        for digest in asked:
            if digest not in sizes and not self.is_bad(CHUNK_LIST, digest):
                encoded = self._store.get(CHUNK_LIST, digest)
                if encoded is not None:
                    sizes[digest] = sum(chunk.size for chunk in decode_chunks(encoded))
        return sizes

    def _chunk_lists(self) -> None:
        for key in self.sound(CHUNK_LIST):
            self._chunk_list(key)

    def _chunk_list(self, key: bytes) -> None:
        """The chunks are here with their sizes, and, if contents are checked, make up the blob."""
        encoded = self._store.get(CHUNK_LIST, key)
        if encoded is None:
            return
        if not encoded or len(encoded) % 36:
            self._problem(CHUNK_LIST, key, f"a list can't have {len(encoded)} bytes")
            return
        chunks = decode_chunks(encoded)
        sizes = self._chunk_sizes([chunk.digest for chunk in chunks])
        for chunk in chunks:
            if chunk.digest not in sizes:
                if self._store.partial:
                    self._findings.incomplete += 1
                else:
                    self._problem(CHUNK_LIST, key, f"chunk {print_digest(chunk.digest)} is not in the store")
                return
            if sizes[chunk.digest] != chunk.size:
                self._problem(CHUNK_LIST, key, f"chunk {print_digest(chunk.digest)} has not {chunk.size} bytes")
                return
        if self._contents and not any(self.is_bad(BLOB, chunk.digest) for chunk in chunks):
            hasher = blake3()
            for contents in self._contents_of([chunk.digest for chunk in chunks]):
                hasher.update(contents)
                self._step(0)
            if hasher.digest() != key and not self._store.partial:
                self._problem(CHUNK_LIST, key, f"its chunks make up {print_digest(Digest(hasher.digest()))}")

    def _contents_of(self, digests: list[Digest]) -> Iterator[bytes | bytearray | memoryview]:
        for digest in digests:
            yield self._store.get(BLOB, digest) or b""

    def _chunk_sizes(self, digests: list[Digest]) -> dict[Digest, int]:
        locations = self._store.locate([index_key(BLOB, digest) for digest in digests])
        return {digest: where[3] or where[2] for digest, where in zip(digests, locations, strict=True) if where is not None}

    def _problem(self, kind: int, key: bytes, reason: object) -> None:
        self._bad.add(index_key(kind, key))
        name = print_digest(Digest(key)) if len(key) == 32 else key.hex()
        self._findings.wrong(KINDS.get(kind, f"record of kind {kind}"), name, reason)
