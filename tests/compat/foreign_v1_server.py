"""A server of the published protocol alone that shares no code with this project: stubs that protoc made, and plain dictionaries.

`python foreign_v1_server.py SOCKET tvix|snix` listens at a Unix socket under one generation's names, and says READY. It is as the
published services may be: nothing answers by another name or says what is there (no reflection, no health, UNIMPLEMENTED for the
rest); blobs have no chunks; contents come in pieces of odd sizes; it takes messages of no more than 4 MiB; what isn't needed in a
path info isn't kept; errors have words of its own. Every method that was called is written to standard error.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
from blake3 import blake3
from grpc_tools import protoc

PROTOS = Path(__file__).parent.parent.parent / "protos"
PIECE_BYTES = 60_001
Untyped = Any


def stubs(generation: str) -> list[Untyped]:
    """Made anew: castore, its services, store, its services."""
    out = Path(tempfile.mkdtemp())
    names = [f"{generation}_{kind}_v1" for kind in ("castore", "store")]
    (out / "foreign").mkdir()
    for name in names:
        text = (PROTOS / f"{name}.proto").read_text()
        (out / f"foreign/{name}.proto").write_text(text.replace("tvix/proto/", "foreign/"))
    arguments = [f"-I{out}", f"--python_out={out}", f"--grpc_python_out={out}", *(f"foreign/{name}.proto" for name in names)]
    assert protoc.main(["protoc", *arguments]) == 0
    sys.path.insert(0, str(out))
    modules = [import_module(f"foreign.{name}_pb2{suffix}") for name in names for suffix in ("", "_grpc")]
    assert not any(name.partition(".")[0] == "tvix" for name in sys.modules)
    return modules


def size_of(directory: Untyped) -> int:
    """As the deployed daemons count: two for each entry, and what is below."""
    entries = [*directory.directories, *directory.files, *directory.symlinks]
    return 2 * len(entries) + sum(int(child.size) for child in directory.directories)


class Foreign:
    """Everything there is, in dictionaries."""

    def __init__(self, castore: Untyped, store: Untyped) -> None:
        self.castore = castore
        self.store = store
        self.blobs: dict[bytes, bytes] = {}
        self.directories: dict[bytes, Untyped] = {}
        self.infos: dict[bytes, Untyped] = {}

    # BlobService

    def stat(self, request: Untyped, context: Untyped) -> Untyped:
        if request.digest not in self.blobs:
            context.abort(grpc.StatusCode.NOT_FOUND, "blob not found")
        return self.castore.StatBlobResponse()

    def read(self, request: Untyped, context: Untyped) -> Iterator[Untyped]:
        contents = self.blobs.get(request.digest)
        if contents is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "blob not found")
            return
        for offset in range(0, len(contents), PIECE_BYTES):
            yield self.castore.BlobChunk(data=contents[offset : offset + PIECE_BYTES])

    def put_blob(self, pieces: Iterator[Untyped], _context: Untyped) -> Untyped:
        contents = b"".join(piece.data for piece in pieces)
        digest = blake3(contents).digest()
        self.blobs[digest] = contents
        return self.castore.PutBlobResponse(digest=digest)

    # DirectoryService

    def get_directory(self, request: Untyped, context: Untyped) -> Iterator[Untyped]:
        """The root first, then whatever a queue brings; each as often as it is named once."""
        if request.digest not in self.directories:
            if not request.recursive:
                context.abort(grpc.StatusCode.NOT_FOUND, f"directory {request.digest.hex()} not found")
            return
        queue, sent = [request.digest], {request.digest}
        while queue:
            directory = self.directories[queue.pop(0)]
            yield directory
            if not request.recursive:
                return
            fresh = [child.digest for child in directory.directories if child.digest not in sent]
            sent.update(fresh)
            queue += dict.fromkeys(fresh)

    def put_directories(self, directories: Iterator[Untyped], context: Untyped) -> Untyped:
        digest = b""
        for directory in directories:
            for child in directory.directories:
                known = self.directories.get(child.digest)
                if known is None or size_of(known) != child.size:
                    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "child directory unknown or of another size")
            digest = blake3(directory.SerializeToString(deterministic=True)).digest()
            self.directories[digest] = directory
        return self.castore.PutDirectoryResponse(root_digest=digest)

    # PathInfoService

    def get_info(self, request: Untyped, context: Untyped) -> Untyped:
        info = self.infos.get(request.by_output_hash)
        if info is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "PathInfo not found")
        return info

    def put_info(self, info: Untyped, _context: Untyped) -> Untyped:
        """No deriver is kept, and no signature."""
        node = self.node_in(info)
        info.narinfo.ClearField("deriver")
        info.narinfo.ClearField("signatures")
        self.infos[from_nixbase32(node.name[:32])] = info
        return info

    def list_infos(self, _request: Untyped, _context: Untyped) -> Iterator[Untyped]:
        yield from list(self.infos.values())

    def calculate_nar(self, node: Untyped, _context: Untyped) -> Untyped:
        nar = text(b"nix-archive-1") + self.nar_of(getattr(node, node.WhichOneof(node.DESCRIPTOR.oneofs[0].name)))
        return self.store.CalculateNARResponse(nar_size=len(nar), nar_sha256=sha256(nar).digest())

    def node_in(self, info: Untyped) -> Untyped:
        """The root of a path info, whatever it is."""
        node = info.node if hasattr(info, "node") else info.entry
        return getattr(node, node.WhichOneof(node.DESCRIPTOR.oneofs[0].name))

    def nar_of(self, node: Untyped) -> bytes:
        """All of it in memory: (type …), as Nix's thesis has it."""
        if hasattr(node, "target"):
            inside = [b"type", b"symlink", b"target", node.target]
        elif hasattr(node, "executable"):
            executable = [b"executable", b""] if node.executable else []
            inside = [b"type", b"regular", *executable, b"contents", self.blobs[node.digest] if node.size else b""]
        else:
            directory = self.directories[node.digest]
            entries = sorted([*directory.directories, *directory.files, *directory.symlinks], key=lambda entry: entry.name)
            listed = b"".join(
                text(b"entry") + text(b"(") + text(b"name") + text(entry.name) + text(b"node") + self.nar_of(entry) + text(b")")
                for entry in entries
            )
            return text(b"(") + text(b"type") + text(b"directory") + listed + text(b")")
        return text(b"(") + b"".join(map(text, inside)) + text(b")")


def text(string: bytes) -> bytes:
    """A string in a NAR."""
    return len(string).to_bytes(8, "little") + string + bytes(-len(string) % 8)


def from_nixbase32(encoded: bytes) -> bytes:
    """20 bytes, least significant digit last."""
    number = 0
    for character in encoded:
        number = number * 32 + b"0123456789abcdfghijklmnpqrsvwxyz".index(character)
    return number.to_bytes(20, "little")


def service(base: type, **methods: Callable[..., Untyped]) -> Untyped:
    """A servicer of these methods, each of which is written down when it is called."""

    def told(name: str, method: Callable[..., Untyped]) -> Callable[..., Untyped]:
        def call(_self: Untyped, request: Untyped, context: Untyped) -> Untyped:
            print(name, file=sys.stderr, flush=True)
            return method(request, context)

        return call

    return type("Told", (base,), {name: told(name, method) for name, method in methods.items()})()


def main(path: str, generation: str) -> None:
    """Serve until killed."""
    castore, castore_grpc, store, store_grpc = stubs(generation)
    foreign = Foreign(castore, store)
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 4 << 20)])
    blobs = service(castore_grpc.BlobServiceServicer, Stat=foreign.stat, Read=foreign.read, Put=foreign.put_blob)
    directories = service(castore_grpc.DirectoryServiceServicer, Get=foreign.get_directory, Put=foreign.put_directories)
    infos = service(
        store_grpc.PathInfoServiceServicer,
        Get=foreign.get_info, Put=foreign.put_info, List=foreign.list_infos, CalculateNAR=foreign.calculate_nar,
    )  # fmt: skip
    castore_grpc.add_BlobServiceServicer_to_server(blobs, server)
    castore_grpc.add_DirectoryServiceServicer_to_server(directories, server)
    store_grpc.add_PathInfoServiceServicer_to_server(infos, server)
    server.add_insecure_port(f"unix:{path}")
    server.start()
    print("READY", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
