"""A client that shares no code with this project: stubs that protoc made from `protos/`, in a package of their own.

`python foreign_grpc_client.py TARGET GENERATION` calls everything there is, and ends with "every call answered as published".
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
from blake3 import blake3
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import proto_reflection_descriptor_database as reflection
from grpc_tools import protoc

PROTOS = Path(__file__).parent.parent.parent / "protos"
CONTENTS = bytes(range(256)) * 12_000
DIGEST = blake3(CONTENTS).digest()
Untyped = Any


def stubs(generation: str) -> list[Untyped]:
    """Made anew, so that nothing of ours is imported in their place: castore, its services, store, its services."""
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


def code(call: Untyped, *arguments: Untyped) -> str:
    """What a call ends with."""
    try:
        answer = call(*arguments)
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def call_blobs(castore: Untyped, blobs: Untyped) -> None:
    """Stat, Read, Put."""
    pieces = [castore.BlobChunk(data=CONTENTS[i : i + 70_000]) for i in range(0, len(CONTENTS), 70_000)]
    assert code(blobs.Stat, castore.StatBlobRequest(digest=DIGEST)) == "NOT_FOUND"
    assert code(blobs.Read, castore.ReadBlobRequest(digest=DIGEST)) == "NOT_FOUND"
    assert blobs.Put(iter(pieces)).digest == DIGEST
    chunks = blobs.Stat(castore.StatBlobRequest(digest=DIGEST, send_chunks=True)).chunks
    assert sum(chunk.size for chunk in chunks) in (0, len(CONTENTS))
    assert b"".join(piece.data for piece in blobs.Read(castore.ReadBlobRequest(digest=DIGEST))) == CONTENTS
    for chunk in chunks:
        data = b"".join(piece.data for piece in blobs.Read(castore.ReadBlobRequest(digest=chunk.digest)))
        assert (blake3(data).digest(), len(data)) == (chunk.digest, chunk.size)
    assert blobs.Put(iter(())).digest == blake3(b"").digest()
    assert code(blobs.Stat, castore.StatBlobRequest(digest=b"short")) == "INVALID_ARGUMENT"
    assert code(blobs.Read, castore.ReadBlobRequest(digest=b"")) == "INVALID_ARGUMENT"


def call_directories(castore: Untyped, directories: Untyped, file_type: Untyped, directory_type: Untyped) -> bytes:
    """Get and Put; the answer is the digest of a root."""
    leaf = castore.Directory(files=[file_type(name=b"data", digest=DIGEST, size=len(CONTENTS), executable=True)])
    leaf_digest = blake3(leaf.SerializeToString()).digest()
    root = castore.Directory(directories=[directory_type(name=b"leaf", digest=leaf_digest, size=2)])
    digest: bytes = blake3(root.SerializeToString()).digest()
    wrong = castore.Directory(directories=[directory_type(name=b"leaf", digest=leaf_digest, size=77)])
    ask = castore.GetDirectoryRequest
    assert code(directories.Get, ask(digest=digest)) == "NOT_FOUND"
    assert list(directories.Get(ask(digest=digest, recursive=True))) == []
    assert code(directories.Put, iter([root])) == "INTERNAL"
    assert code(directories.Put, iter([leaf, castore.Directory()])) == "INTERNAL"
    assert code(directories.Put, iter([leaf, wrong])) == "INTERNAL"
    assert directories.Put(iter([leaf, root])).root_digest == digest
    assert list(directories.Get(ask(digest=digest))) == [root]
    assert list(directories.Get(ask(digest=digest, recursive=True))) == [root, leaf]
    assert code(directories.Get, ask(recursive=True)) == "UNIMPLEMENTED"
    assert code(directories.Get, ask(digest=b"short")) == "INVALID_ARGUMENT"
    return digest


def call_path_infos(store: Untyped, path_infos: Untyped, node: Untyped) -> None:
    """CalculateNAR, Get, Put, List, for a root without a name."""
    nar = path_infos.CalculateNAR(node)
    assert nar.nar_size > len(CONTENTS)
    assert len(nar.nar_sha256) == 32
    node.directory.name = b"00000000000000000000000000000000-thing"
    info = store.PathInfo(narinfo=store.NARInfo(nar_size=nar.nar_size, nar_sha256=nar.nar_sha256))
    (info.node if hasattr(info, "node") else info.entry).CopyFrom(node)
    wrong = store.PathInfo.FromString(info.SerializeToString())
    wrong.narinfo.nar_size += 1
    get = store.GetPathInfoRequest
    assert code(path_infos.Get, get(by_output_hash=bytes(20))) == "NOT_FOUND"
    assert code(path_infos.Put, wrong) == "INVALID_ARGUMENT"
    assert path_infos.Put(info) == info
    info.narinfo.signatures.add(name="key-1", data=bytes(64))
    assert path_infos.Put(info) == info
    assert path_infos.Get(get(by_output_hash=bytes(20))) == info
    assert list(path_infos.List(store.ListPathInfoRequest())) == [info]
    other = store.PathInfo.FromString(info.SerializeToString())
    (other.node if hasattr(other, "node") else other.entry).symlink.target = b"elsewhere"
    assert code(path_infos.Put, other) == "INVALID_ARGUMENT"  # a symlink without a name
    assert code(path_infos.Get, get()) == "UNIMPLEMENTED"
    assert code(path_infos.Get, get(by_output_hash=b"short")) == "INVALID_ARGUMENT"


def call_standard(channel: Untyped, service: str) -> None:
    """Health and reflection."""
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", service):
        assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
    assert code(health.Check, health_pb2.HealthCheckRequest(service="other")) == "NOT_FOUND"
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    database = reflection.ProtoReflectionDescriptorDatabase(channel)
    assert service in database.get_services()
    assert database.FindFileContainingSymbol(service).package == service.rpartition(".")[0]
    # The later name of the same service: a request for the list of services (field 7), answered in kind (field 6).
    later = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    assert service.encode() in next(later(iter([b"\x3a\x00"])))


def main(target: str, generation: str) -> None:
    """Everything, in an order in which it can work."""
    castore, castore_grpc, store, store_grpc = stubs(generation)
    with grpc.insecure_channel(target) as channel:
        file_type = castore.FileNode if generation == "tvix" else castore.FileEntry
        directory_type = castore.DirectoryNode if generation == "tvix" else castore.DirectoryEntry
        call_blobs(castore, castore_grpc.BlobServiceStub(channel))
        root = call_directories(castore, castore_grpc.DirectoryServiceStub(channel), file_type, directory_type)
        node = (castore.Node if generation == "tvix" else castore.Entry)(directory=directory_type(digest=root, size=4))
        call_path_infos(store, store_grpc.PathInfoServiceStub(channel), node)
        call_standard(channel, f"{generation}.castore.v1.BlobService")
    print("every call answered as published")


if __name__ == "__main__":
    main(*sys.argv[1:])
