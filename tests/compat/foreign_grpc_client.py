"""A client that shares no code with this project: stubs that protoc made from `protos/`, given their own packages.

`python foreign_grpc_client.py TARGET GENERATION` calls everything there is, and ends with "every call answered as published".
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path

import grpc
from blake3 import blake3
from grpc_tools import protoc

PROTOS = Path(__file__).parent.parent.parent / "protos"


def stubs(generation):
    """Made anew in a package of their own, so that nothing of ours is imported in their place."""
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


def refusal(call, *arguments):
    try:
        answer = call(*arguments)
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def main(target, generation):
    castore, castore_grpc, store, store_grpc = stubs(generation)
    channel = grpc.insecure_channel(target)
    blobs = castore_grpc.BlobServiceStub(channel)
    directories = castore_grpc.DirectoryServiceStub(channel)
    path_infos = store_grpc.PathInfoServiceStub(channel)
    file_type = castore.FileNode if generation == "tvix" else castore.FileEntry
    directory_type = castore.DirectoryNode if generation == "tvix" else castore.DirectoryEntry
    node_type = castore.Node if generation == "tvix" else castore.Entry

    contents = bytes(range(256)) * 12_000
    digest = blake3(contents).digest()
    pieces = [castore.BlobChunk(data=contents[i : i + 70_000]) for i in range(0, len(contents), 70_000)]
    assert refusal(blobs.Stat, castore.StatBlobRequest(digest=digest)) == "NOT_FOUND"
    assert refusal(blobs.Read, castore.ReadBlobRequest(digest=digest)) == "NOT_FOUND"
    assert blobs.Put(iter(pieces)).digest == digest
    stat = blobs.Stat(castore.StatBlobRequest(digest=digest, send_chunks=True))
    assert sum(chunk.size for chunk in stat.chunks) in (0, len(contents))
    assert b"".join(piece.data for piece in blobs.Read(castore.ReadBlobRequest(digest=digest))) == contents
    for chunk in stat.chunks:
        data = b"".join(piece.data for piece in blobs.Read(castore.ReadBlobRequest(digest=chunk.digest)))
        assert (blake3(data).digest(), len(data)) == (chunk.digest, chunk.size)
    assert blobs.Put(iter(())).digest == blake3(b"").digest()
    assert refusal(blobs.Stat, castore.StatBlobRequest(digest=b"short")) == "INVALID_ARGUMENT"
    assert refusal(blobs.Read, castore.ReadBlobRequest(digest=b"")) == "INVALID_ARGUMENT"

    leaf = castore.Directory(files=[file_type(name=b"data", digest=digest, size=len(contents), executable=True)])
    leaf_digest = blake3(leaf.SerializeToString()).digest()
    root = castore.Directory(directories=[directory_type(name=b"leaf", digest=leaf_digest, size=2)])
    root_digest = blake3(root.SerializeToString()).digest()
    ask = castore.GetDirectoryRequest
    assert refusal(directories.Get, ask(digest=root_digest)) == "NOT_FOUND"
    assert list(directories.Get(ask(digest=root_digest, recursive=True))) == []
    assert refusal(directories.Put, iter([root])) == "INTERNAL"
    assert refusal(directories.Put, iter([leaf, castore.Directory()])) == "INTERNAL"
    wrong = castore.Directory(directories=[directory_type(name=b"leaf", digest=leaf_digest, size=77)])
    assert refusal(directories.Put, iter([leaf, wrong])) == "INTERNAL"
    assert directories.Put(iter([leaf, root])).root_digest == root_digest
    assert list(directories.Get(ask(digest=root_digest))) == [root]
    assert list(directories.Get(ask(digest=root_digest, recursive=True))) == [root, leaf]
    assert refusal(directories.Get, ask(recursive=True)) == "UNIMPLEMENTED"
    assert refusal(directories.Get, ask(digest=b"short")) == "INVALID_ARGUMENT"

    node = node_type(directory=directory_type(digest=root_digest, size=4))
    nar = path_infos.CalculateNAR(node)
    assert nar.nar_size > len(contents) and len(nar.nar_sha256) == 32
    node.directory.name = b"00000000000000000000000000000000-thing"
    info = store.PathInfo(narinfo=store.NARInfo(nar_size=nar.nar_size, nar_sha256=nar.nar_sha256))
    (info.node if generation == "tvix" else info.entry).CopyFrom(node)
    hash_part = bytes(20)
    get = store.GetPathInfoRequest
    assert refusal(path_infos.Get, get(by_output_hash=hash_part)) == "NOT_FOUND"
    wrong = store.PathInfo.FromString(info.SerializeToString())
    wrong.narinfo.nar_size += 1
    assert refusal(path_infos.Put, wrong) == "INVALID_ARGUMENT"
    assert path_infos.Put(info) == info
    info.narinfo.signatures.add(name="key-1", data=bytes(64))
    assert path_infos.Put(info) == info
    assert path_infos.Get(get(by_output_hash=hash_part)) == info
    assert list(path_infos.List(store.ListPathInfoRequest())) == [info]
    assert refusal(path_infos.Get, get()) == "UNIMPLEMENTED"
    assert refusal(path_infos.Get, get(by_output_hash=b"short")) == "INVALID_ARGUMENT"

    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import proto_reflection_descriptor_database

    health = health_pb2_grpc.HealthStub(channel)
    service = f"{generation}.castore.v1.BlobService"
    for name in ("", service):
        assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
    assert refusal(health.Check, health_pb2.HealthCheckRequest(service="other")) == "NOT_FOUND"
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert next(iter(watch)).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    database = proto_reflection_descriptor_database.ProtoReflectionDescriptorDatabase(channel)
    assert service in database.get_services()
    assert database.FindFileContainingSymbol(service).package == f"{generation}.castore.v1"
    channel.close()
    print("every call answered as published")


if __name__ == "__main__":
    main(*sys.argv[1:])
