"""A client of the extension protocol that knows nothing but the .proto files, and nothing of this project is imported.

`python foreign_extension_client.py TARGET` calls every method once, and ends with "every call answered as described".
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from struct import pack
from typing import Any

import grpc
from blake3 import blake3
from grpc_reflection.v1alpha import proto_reflection_descriptor_database as reflection
from grpc_tools import protoc

PROTOS = Path(__file__).parent.parent.parent / "protos"
PIECES = [bytes([number]) * 70_000 for number in range(3)]
WHOLE = b"".join(PIECES)
ABSENT = bytes(32)
Untyped = Any


def name_of(contents: bytes) -> bytes:
    """Its digest."""
    return blake3(contents).digest()


def stubs() -> list[Untyped]:
    """Made anew, so that nothing of ours is imported: castore, its service, store, its services, published castore."""
    out = Path(tempfile.mkdtemp())
    (out / "foreign").mkdir()
    names = ["tvix_appliance_castore_v1", "tvix_appliance_store_v1", "tvix_castore_v1"]
    for name in names:
        text = (PROTOS / f"{name}.proto").read_text()
        (out / f"foreign/{name}.proto").write_text(text.replace("tvix/proto/", "foreign/"))
    arguments = [f"-I{out}", f"--python_out={out}", f"--grpc_python_out={out}", *(f"foreign/{name}.proto" for name in names)]
    assert protoc.main(["protoc", *arguments]) == 0
    sys.path.insert(0, str(out))
    modules = [import_module(f"foreign.{name}_pb2{end}") for name in names[:2] for end in ("", "_grpc")]
    assert not any(name.partition(".")[0] == "tvix" for name in sys.modules)
    return [*modules, import_module(f"foreign.{names[2]}_pb2")]


def put(castore: Untyped, transfer: Untyped) -> None:
    """Describe, Missing, PutBlobs, PutChunked."""
    description = transfer.Describe(castore.DescribeRequest())
    assert description.writable
    assert {"missing", "put-blobs", "put-chunked", "closure", "path-infos", "closure-roots"} <= set(description.features)
    names = [name_of(piece) for piece in PIECES]
    request = castore.MissingRequest(digests=b"".join([*names, ABSENT]))
    assert transfer.Missing(request).bits == b"\x0f"
    stored = transfer.PutBlobs(castore.PutBlobsRequest(sizes=map(len, PIECES), payload=WHOLE))
    assert stored.digests == b"".join(names)
    assert transfer.Missing(request).bits == b"\x08"
    chunks = b"".join(name + pack("<I", len(piece)) for name, piece in zip(names, PIECES, strict=True))
    answer = transfer.PutChunked(castore.PutChunkedRequest(digest=name_of(WHOLE), chunks=chunks))
    assert answer.digests == name_of(WHOLE)


def put_directory(castore: Untyped, channel: grpc.Channel) -> bytes:
    """A directory by the published service, which is there beside ours."""
    call = channel.stream_unary("/tvix.castore.v1.DirectoryService/Put", castore.Directory.SerializeToString)
    file = castore.FileNode(name=b"whole", digest=name_of(WHOLE), size=len(WHOLE))
    directory = castore.Directory(files=[file])
    call(iter([directory]))
    return name_of(directory.SerializeToString())


def fetch(castore: Untyped, transfer: Untyped, root: bytes) -> None:
    """Items, ranges, what is missing, a closure, a hot set that is recorded and announced."""
    asks = [
        castore.Ask(ids=[1, 2, 3], digests=name_of(PIECES[0]) + ABSENT + root),
        castore.Ask(ids=[4], digests=name_of(WHOLE), offsets=[70_000], lengths=[5], priority=7),
        castore.Ask(promote=[4]),
        castore.Ask(root=root, profile="p", record=name_of(PIECES[1]) + pack("<QI", 0, 0)),
        castore.Ask(root=root, profile="p", push=True, closure=True),
    ]
    items: dict[int, bytes] = {}
    missing: set[int] = set()
    kinds = []
    for frame in transfer.Fetch(iter(asks)):
        kinds.append(frame.kind)
        missing.update(frame.missing)
        offset = 0
        for number, size in zip(frame.ids, frame.sizes, strict=True):
            items[number] = frame.payload[offset : offset + size]
            offset += size
        if frame.kind == 1:
            assert frame.root == root
            assert root == name_of(frame.payload[8 : 8 + int.from_bytes(frame.payload[4:8], "little")])
        if frame.kind == 3:
            assert frame.first >= 1 << 31
            assert frame.payload[:32] == name_of(PIECES[1])
    assert missing == {2}
    assert sorted(items) == [1, 3, 4, 1 << 31]
    assert (items[1], name_of(items[3]), items[4], items[1 << 31]) == (PIECES[0], root, b"\1" * 5, PIECES[1])
    assert kinds.index(3) < kinds.index(1)


def closure_roots(store: Untyped, service: Untyped, root: bytes) -> None:
    """A signed root is put and got; what no server can verify it doesn't look at."""
    path = "/nix/store/00000000000000000000000000000000-thing"
    signature = "key-1:" + "A" * 86 + "=="
    stored = service.Put(store.SignedRoot(store_path=path, root=root, signatures=[signature]))
    assert stored == service.Get(store.PathInfoDigests(digests=bytes(20)))
    assert (stored.store_path, stored.root, list(stored.signatures)) == (path, root, [signature])
    code = None
    try:
        service.Get(store.PathInfoDigests(digests=b"\1" * 20))
    except grpc.RpcError as error:
        code = error.code()
    assert code == grpc.StatusCode.NOT_FOUND


def path_infos(store: Untyped, service: Untyped) -> None:
    """Of what isn't there nothing is told."""
    request = store.PathInfoDigests(digests=bytes(40))
    assert not service.GetMany(request).path_infos
    assert [info for part in service.Closure(request) for info in part.path_infos] == []
    assert not service.PutMany(store.PathInfoList()).path_infos


def main(target: str) -> None:
    """Everything, in an order in which it can work."""
    castore, castore_grpc, store, store_grpc, published_castore = stubs()
    with grpc.insecure_channel(target) as channel:
        services = reflection.ProtoReflectionDescriptorDatabase(channel).get_services()
        for name in ("castore.v1.Transfer", "store.v1.PathInfos", "store.v1.ClosureRoots"):
            assert f"tvix_appliance.{name}" in services
        transfer = castore_grpc.TransferStub(channel)
        put(castore, transfer)
        root = put_directory(published_castore, channel)
        fetch(castore, transfer, root)
        path_infos(store, store_grpc.PathInfosStub(channel))
        closure_roots(store, store_grpc.ClosureRootsStub(channel), root)
    print("every call answered as described")


if __name__ == "__main__":
    main(*sys.argv[1:])
