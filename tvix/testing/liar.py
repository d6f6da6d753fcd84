"""A server that lies to whom a test tells it to: what it has is honest, and what it says of it is twisted on its way out.

Three store paths are in it. Of `told` it lies; `honest` it tells the truth about, always; `evil` is what it makes up: a root
node and directories that no honest program would have made, named by their right digests or by others. It lies while `lying` is
set.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple, TypeAlias

from tvix.castore.blobs.interface import Chunk
from tvix.castore.digests import Digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.directory import Directory
from tvix.castore.nodes import DirectoryNode, FileNode, Name, Node, SymlinkNode
from tvix.castore.transfer.closure_message import ClosurePart, decode_closure_part, encode_closure_part
from tvix.castore.transfer.messages import DIRECTORIES, ITEMS, Frame, decode_ask, decode_frame, encode_frame
from tvix.castore.transfer.unpacking import unpack
from tvix.grpc_api import server as server_module
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.methods import STREAM_OUT, UNARY, Method, joined
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.addresses import open_store
from tvix.store.path_info import PathInfo
from tvix.store.store import Store

TOLD = StorePath(StorePathDigest(b"\1" * 20), "told")
HONEST = StorePath(StorePathDigest(b"\2" * 20), "honest")
EVIL = StorePath(StorePathDigest(b"\3" * 20), "evil")

_NOISE = random.Random(40)  # noqa: S311
FILES = {
    b"small": _NOISE.randbytes(1000),
    b"other": _NOISE.randbytes(1000),
    b"text": b"a line that compresses well\n" * 200,
    b"large": _NOISE.randbytes(3 << 20),
}
"""What is in `told`, and, but for their first bytes, in `honest`."""


def honest_file(name: bytes) -> bytes:
    """The contents of a file in `honest`, none of whose bytes are in `told`."""
    return bytes(byte ^ 255 for byte in FILES[name])


class Tree(NamedTuple):
    """What the server makes up: the root node that it tells of `evil`, and encoded directories by the root it sends them for."""

    node: Node
    closures: Mapping[Digest, Sequence[bytes]] = {}


FrameTwist: TypeAlias = Callable[["Liar", Frame], Iterable[Frame | bytes]]
Twist: TypeAlias = Callable[["Liar", list[bytes]], Iterable[bytes]]


class Liar:
    """Served at `addresses` until it is closed. Twists are to be set before `start`."""

    def __init__(self, place: Path) -> None:
        self.lying = False
        self.over = Event()
        """What a server waits for that says nothing: set when it is closed."""
        self.items: FrameTwist | None = None
        """What becomes of frames with contents of `told`."""
        self.closures: FrameTwist | None = None
        """What becomes of frames with its directories."""
        self.answers: dict[str, Twist] = {}
        """What becomes of the answers of other methods (`Service/Method`) when they are asked for something in `told`."""
        self.store = open_store(f"pack:{place}/store")
        self.root = self._put(TOLD, FILES)
        self._put(HONEST, {name: honest_file(name) for name in FILES})
        self.about = [TOLD.digest, self.root.digest, *(self.digest(name) for name in FILES), *self._chunks()]
        self._trees: dict[Digest, Sequence[bytes]] = {}

    def digest(self, name: bytes) -> Digest:
        """That of a file in `told`."""
        node = self.root.entries[Name(name)]
        assert isinstance(node, FileNode)
        return node.digest

    @property
    def chunks(self) -> list[Chunk]:
        """Those of the large file."""
        return list(self.store.blobs.chunks(self.digest(b"large")) or ())

    def make_up(self, tree: Tree) -> None:
        """Have `evil`."""
        self._trees |= tree.closures
        self.store.path_infos.put_many([PathInfo(EVIL, tree.node, 1, bytes(32))])

    def start(self, addresses: Sequence[str], *, extension: bool) -> None:
        """Serve."""
        store = Store(self.store.blobs, _MadeUp(self.store.directories, self._trees), self.store.path_infos)
        table = [self._twisted(method) for method in server_module.methods_of(store, 16 << 20, extension=extension)]
        before, server_module.methods_of = server_module.methods_of, lambda *_words, **_options: iter(table)
        try:
            self._server = server_module.make_server(store, addresses, extension=extension)
        finally:
            server_module.methods_of = before
        self._server.start()

    def close(self) -> None:
        """Hang up."""
        self.lying = False
        self.over.set()
        self._server.stop(0)
        self.store.close()

    def _put(self, path: StorePath, files: Mapping[bytes, bytes]) -> Directory:
        entries: list[tuple[Name, Node]] = []
        for name, contents in files.items():
            with_writer = self.store.blobs.writer()
            with_writer.write(contents)
            entries.append((Name(name), FileNode(with_writer.close(), len(contents), False)))
        below = Directory.of([(Name(b"file"), entries[0][1])])
        root = Directory.of([*entries, (Name(b"link"), SymlinkNode(b"small")), (Name(b"dir"), below.node)])
        self.store.directories.put([below, root])
        self.store.path_infos.put_many([PathInfo(path, root.node, 1, bytes(32))])
        return root

    def _chunks(self) -> list[Digest]:
        return [chunk.digest for name in FILES for chunk in self.store.blobs.chunks(self.digest(name)) or ()]

    def _twisted(self, method: Method) -> Method:
        name = f"{method.service.rpartition('.')[2]}/{method.name}"
        if name == "Transfer/Fetch":
            return method._replace(function=self._fetch(method.function))
        twist = self.answers.get(name)
        if twist is None or method.kind not in (UNARY, STREAM_OUT):
            return method
        return method._replace(function=self._answer(method.function, twist, streams=method.kind == STREAM_OUT))

    def _answer(self, honest: Callable[..., Any], twist: Twist, *, streams: bool) -> Callable[..., Any]:
        def stream(request: bytes, caller: Caller) -> Iterator[bytes]:
            answers = (joined(answer) for answer in (honest(request, caller) if streams else [honest(request, caller)]))
            if self.lying and any(digest in request for digest in self.about):
                return iter(twist(self, list(answers)))
            return answers

        return stream if streams else lambda request, caller: next(stream(request, caller))

    def _fetch(self, honest: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(requests: Iterator[bytes], caller: Caller) -> Iterator[bytes]:
            asked: dict[int, Digest] = {}

            def heard() -> Iterator[bytes]:
                for request in requests:
                    ask = decode_ask(request)
                    asked.update(zip(ask.ids, ask.digests, strict=True))
                    yield request

            for answer in honest(heard(), caller):
                message = joined(answer)
                for said in self._said(message, asked):
                    yield said if isinstance(said, bytes) else encode_frame(said)

        return fetch

    def _said(self, message: bytes, asked: Mapping[int, Digest]) -> Iterable[Frame | bytes]:
        frame = decode_frame(message)
        if self.lying and frame.kind == ITEMS and self.items is not None:
            if any(asked.get(number) in self.about for number in frame.ids):
                return self.items(self, frame)
        elif self.lying and frame.kind == DIRECTORIES and frame.root == self.root.digest and self.closures is not None:
            return self.closures(self, frame)
        return [message]


def closure_part(frame: Frame) -> ClosurePart:
    """What a frame with directories holds."""
    return decode_closure_part(unpack(frame.payload, frame.raw_size) if frame.codec else frame.payload)


def closure_frame(frame: Frame, part: ClosurePart) -> Frame:
    """The same frame with something else in it."""
    return frame._replace(payload=encode_closure_part(part), codec=0, raw_size=0)


class _MadeUp:
    """A `DirectoryService` that has, besides what `honest` has, what is made up."""

    def __init__(self, honest: DirectoryService, trees: Mapping[Digest, Sequence[bytes]]) -> None:
        self._honest = honest
        self._trees = trees

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """See `DirectoryService`. All of them, so that the server keeps no answers."""
        return set(digests)

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, Directory]:
        """See `DirectoryService`."""
        return {digest: directory for digest in digests for directory in list(self.closure(digest))[:1]}

    def closure(self, root: Digest) -> Iterator[Directory]:
        """See `DirectoryService`. Nothing is decoded of what is made up."""
        if root in self._trees:
            return (Directory(encoded, root, {}) for encoded in self._trees[root])
        return self._honest.closure(root)

    def put(self, directories: Iterable[Directory]) -> Digest:
        """See `DirectoryService`."""
        return self._honest.put(directories)

    def sync(self) -> None:
        """See `DirectoryService`."""

    def close(self) -> None:
        """See `DirectoryService`."""


def tree_of(*directories: bytes, size: int = 2, root: Digest | None = None) -> Tree:
    """Encoded directories, the first of which is the root; `root` is another name for it than its own."""
    from tvix.castore.digests import digest_of

    name = root or digest_of(directories[0])
    return Tree(DirectoryNode(name, size), {name: directories})


def socket_at(place: Path, name: str) -> str:
    """An address of a Unix socket."""
    return f"unix:{place}/{name}"
