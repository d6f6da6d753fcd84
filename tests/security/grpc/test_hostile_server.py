"""Servers that lie, stop half-way, send too much or don't answer: the client says which, and hands out nothing wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import Event

import grpc
import pytest

from tvix.castore.blobs.interface import Chunk, CorruptBlob, StoreUnavailable
from tvix.castore.blobs.remote import RemoteBlobService
from tvix.castore.blobs.remote_reader import StreamingReader
from tvix.castore.chunk_list import WrongChunkList
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.interface import CorruptDirectory, IncompleteClosure, WrongDirectorySize
from tvix.castore.directories.order import breadth_first
from tvix.castore.directories.remote import RemoteDirectoryService
from tvix.castore.directory import Directory
from tvix.castore.grpc_import import Foreign
from tvix.castore.grpc_messages import decode_digest, digest_and_flag, encode_chunks, encode_digest, encode_frame
from tvix.castore.nodes import DirectoryNode, FileNode, Name
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.remote_channel import Channel
from tvix.castore.remote_errors import StoreFailed, StoreFull, StoreRefused
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.path_info import PathInfo
from tvix.store.path_info_codec import InvalidPathInfo, encode_path_info
from tvix.store.path_infos.remote import RemotePathInfoService

Hostile = Callable[..., Channel]
READ = "castore.v1.BlobService/Read"
STAT = "castore.v1.BlobService/Stat"
PUT = "castore.v1.BlobService/Put"
GET_DIRECTORY = "castore.v1.DirectoryService/Get"
PUT_DIRECTORY = "castore.v1.DirectoryService/Put"
GET_PATH_INFO = "store.v1.PathInfoService/Get"

PIECE = 700_000
PIECES = [bytes([number]) * PIECE for number in range(4)]
LARGE = b"".join(PIECES)
LARGE_DIGEST = digest_of(LARGE)
CHUNKS = [Chunk(digest_of(piece), PIECE) for piece in PIECES]


def answers(messages: Iterable[bytes]) -> Foreign:
    listed = list(messages)
    return grpc.unary_stream_rpc_method_handler(lambda _request, _context: iter(listed))


def answer(message: bytes) -> Foreign:
    return grpc.unary_unary_rpc_method_handler(lambda _request, _context: message)


def takes_all(message: bytes) -> Foreign:
    def take(requests: Iterator[bytes], _context: object) -> bytes:
        for _request in requests:
            pass
        return message

    return grpc.stream_unary_rpc_method_handler(take)


def chunks_and_blob(pieces: Iterable[bytes]) -> Foreign:
    """Read of the large blob as `pieces`, and of its chunks as they are."""
    whole = [encode_frame(piece) for piece in pieces]

    def read(request: bytes, _context: object) -> Iterator[bytes]:
        digest = decode_digest(request, "request")
        if digest == LARGE_DIGEST:
            yield from whole
        else:
            yield from (encode_frame(piece) for piece in PIECES if digest_of(piece) == digest)

    return grpc.unary_stream_rpc_method_handler(read)


def refuses(code: grpc.StatusCode) -> Foreign:
    def refuse(_request: bytes, context: Foreign) -> bytes:
        context.abort(code, "because")
        raise AssertionError

    return grpc.unary_unary_rpc_method_handler(refuse)


def read_all(blobs: RemoteBlobService, digest: Digest) -> bytes:
    reader = blobs.open(digest)
    assert reader is not None
    out = b""
    while piece := reader.read_at(len(out), 300_000):
        out += piece
    return out


def test_a_small_blob_of_other_bytes_is_refused(hostile: Hostile) -> None:
    blobs = RemoteBlobService(hostile({READ: answers([encode_frame(b"other")])}))
    with pytest.raises(CorruptBlob):
        blobs.open(digest_of(b"wanted"))
    with pytest.raises(CorruptBlob):
        list(blobs.read_many([digest_of(b"wanted")]))


@pytest.mark.parametrize(
    "wrong", [PIECES[:3], [*PIECES, b"more"], [*PIECES[:3], b"\xff" * PIECE], [PIECES[1], PIECES[0], *PIECES[2:]]]
)
def test_a_large_blob_is_never_read_to_the_end_when_it_is_wrong(hostile: Hostile, wrong: list[bytes]) -> None:
    with pytest.raises(CorruptBlob):
        read_all(RemoteBlobService(hostile({READ: answers(map(encode_frame, wrong))})), LARGE_DIGEST)


def test_a_right_large_blob_is_read(hostile: Hostile) -> None:
    blobs = RemoteBlobService(hostile({READ: chunks_and_blob(PIECES), STAT: answer(encode_chunks(CHUNKS))}))
    assert read_all(blobs, LARGE_DIGEST) == LARGE
    reader = blobs.open(LARGE_DIGEST)
    assert isinstance(reader, StreamingReader)
    assert reader.size == len(LARGE)
    for offset, length in ((2_000_000, 500_000), (PIECE - 1, 2), (0, 10), (len(LARGE) - 5, 100), (len(LARGE), 1)):
        assert bytes(reader.read_at(offset, length)) == LARGE[offset : offset + length]


def test_a_large_blob_in_one_piece_is_read_in_any_order(hostile: Hostile) -> None:
    blobs = RemoteBlobService(hostile({READ: chunks_and_blob(PIECES), STAT: answer(b"")}))
    reader = blobs.open(LARGE_DIGEST)
    assert reader is not None
    for offset, length in ((2_000_000, 500_000), (PIECE - 1, 2), (0, 10), (len(LARGE) - 5, 100)):
        assert bytes(reader.read_at(offset, length)) == LARGE[offset : offset + length]
    assert reader.size == len(LARGE)


@pytest.mark.parametrize(
    "lie",
    [
        [CHUNKS[1], CHUNKS[0], *CHUNKS[2:]],
        CHUNKS[:3],
        [*CHUNKS, CHUNKS[0]],
        [*CHUNKS[:3], Chunk(CHUNKS[0].digest, PIECE)],
        [Chunk(CHUNKS[0].digest, PIECE + 1), Chunk(CHUNKS[1].digest, PIECE - 1), *CHUNKS[2:]],
    ],
    ids=["order", "too few", "too many", "another chunk", "sizes"],
)
def test_a_list_of_chunks_that_lies_is_found_out(hostile: Hostile, lie: list[Chunk]) -> None:
    blobs = RemoteBlobService(hostile({READ: chunks_and_blob(PIECES), STAT: answer(encode_chunks(lie))}))
    reader = blobs.open(LARGE_DIGEST)
    assert reader is not None
    with pytest.raises(WrongChunkList):
        reader.read_at(1_000_000, 10)


def test_a_size_that_lies_is_found_out_by_reading_to_the_end(hostile: Hostile) -> None:
    blobs = RemoteBlobService(hostile({READ: chunks_and_blob(PIECES), STAT: answer(encode_chunks(CHUNKS[:3]))}))
    reader = blobs.open(LARGE_DIGEST)
    assert reader is not None
    assert reader.size == 3 * PIECE
    for offset in range(0, 3 * PIECE, PIECE):
        reader.read_at(offset, PIECE)
    with pytest.raises(WrongChunkList):
        reader.read_at(3 * PIECE, PIECE)


def test_a_server_that_changes_its_mind_between_two_reads_is_caught(hostile: Hostile) -> None:
    reads = iter([PIECES, PIECES, [PIECES[0], b"\xff" * PIECE, *PIECES[2:]]])
    read = grpc.unary_stream_rpc_method_handler(lambda _request, _context: map(encode_frame, next(reads)))
    reader = RemoteBlobService(hostile({READ: read, STAT: answer(b"")})).open(LARGE_DIGEST)
    assert reader is not None
    with pytest.raises(CorruptBlob):
        reader.read_at(1_000_000, 10)


def test_empty_messages_without_end_are_refused(hostile: Hostile) -> None:
    blobs = RemoteBlobService(hostile({READ: answers([b""] * 1000)}))
    with pytest.raises(StoreFailed):
        blobs.open(LARGE_DIGEST)


def test_messages_that_are_none(hostile: Hostile) -> None:
    with pytest.raises(MalformedMessage):
        RemoteBlobService(hostile({READ: answers([b"\x0a\xff"])})).open(LARGE_DIGEST)


def test_a_message_over_the_limit_is_refused(hostile: Hostile) -> None:
    blobs = RemoteBlobService(hostile({READ: answers([encode_frame(bytes(17 << 20))])}))
    with pytest.raises(StoreFailed, match="larger than max"):
        blobs.open(LARGE_DIGEST)


LEAF = Directory.of([(Name(b"x"), FileNode(LARGE_DIGEST, 5, False))])
ROOT = Directory.of([(Name(b"leaf"), LEAF.node), (Name(b"more"), LEAF.node)])
OTHER = Directory.of([(Name(b"y"), FileNode(LARGE_DIGEST, 5, False))])
LIAR = Directory.of([(Name(b"leaf"), DirectoryNode(LEAF.digest, 99))])


@pytest.mark.parametrize(
    ("root", "told", "error"),
    [
        (ROOT, [ROOT], IncompleteClosure),
        (ROOT, [OTHER, LEAF], CorruptDirectory),
        (ROOT, [ROOT, OTHER, LEAF], CorruptDirectory),
        (ROOT, [ROOT, LEAF, OTHER], CorruptDirectory),
        (LIAR, [LIAR, LEAF], WrongDirectorySize),
    ],
    ids=["truncated", "another root", "a stranger", "a stranger last", "wrong size"],
)
def test_closures_that_are_not(hostile: Hostile, root: Directory, told: list[Directory], error: type[Exception]) -> None:
    directories = RemoteDirectoryService(hostile({GET_DIRECTORY: answers(directory.encoded for directory in told)}))
    with pytest.raises(error):
        list(directories.closure(root.digest))


def test_a_directory_that_is_another(hostile: Hostile) -> None:
    directories = RemoteDirectoryService(hostile({GET_DIRECTORY: answers([OTHER.encoded])}))
    with pytest.raises(CorruptDirectory):
        directories.get_many([ROOT.digest])


def test_a_directory_that_is_not_canonical(hostile: Hostile) -> None:
    encoded = LEAF.encoded + b"\x20\x01"
    directories = RemoteDirectoryService(hostile({GET_DIRECTORY: answers([encoded])}))
    with pytest.raises(CorruptDirectory):
        directories.get_many([digest_of(encoded)])
    with pytest.raises(CorruptDirectory):
        list(directories.closure(digest_of(encoded)))


def test_a_directory_that_does_not_come(hostile: Hostile) -> None:
    directories = RemoteDirectoryService(hostile({GET_DIRECTORY: answers([])}))
    with pytest.raises(StoreFailed, match="no answer"):
        directories.get_many([ROOT.digest])
    assert list(directories.closure(ROOT.digest)) == []


def test_more_directories_than_one(hostile: Hostile) -> None:
    directories = RemoteDirectoryService(hostile({GET_DIRECTORY: answers([ROOT.encoded, LEAF.encoded])}, deadline=0.3))
    with pytest.raises(StoreUnavailable):
        directories.get_many([ROOT.digest])


def test_stores_that_store_something_else(hostile: Hostile) -> None:
    other = encode_digest(digest_of(b"other"))
    blobs = RemoteBlobService(hostile({PUT: takes_all(other), STAT: answer(b"")}))
    blobs.put(b"this")
    with pytest.raises(CorruptBlob):
        blobs.sync()
    blobs.sync()  # told once
    writer = blobs.writer()
    writer.write(LARGE)
    with pytest.raises(CorruptBlob):
        writer.close()
    with pytest.raises(CorruptDirectory):
        RemoteDirectoryService(hostile({PUT_DIRECTORY: takes_all(other)})).put([LEAF, ROOT])


def test_a_path_info_of_another_path_is_refused(hostile: Hostile) -> None:
    info = PathInfo(StorePath(StorePathDigest(b"a" * 20), "name"), LEAF.node, 100, bytes(32))
    path_infos = RemotePathInfoService(hostile({GET_PATH_INFO: answer(encode_path_info(info))}))
    assert path_infos.get_many([info.path.digest]) == {info.path.digest: info}
    with pytest.raises(InvalidPathInfo):
        path_infos.get_many([StorePathDigest(b"b" * 20)])


def test_a_server_that_never_answers_is_unavailable_after_the_deadline(hostile: Hostile, hang: Event) -> None:
    def wait(_request: object, _context: object) -> bytes:
        hang.wait()
        return b""

    def begin_and_wait(_request: object, _context: object) -> Iterator[bytes]:
        yield encode_frame(PIECES[0])
        yield encode_frame(PIECES[1])
        hang.wait()

    channel = hostile(
        {
            STAT: grpc.unary_unary_rpc_method_handler(wait),
            READ: grpc.unary_stream_rpc_method_handler(begin_and_wait),
            PUT: grpc.stream_unary_rpc_method_handler(wait),
            GET_DIRECTORY: grpc.unary_stream_rpc_method_handler(wait),
        },
        deadline=0.3,
    )
    blobs = RemoteBlobService(channel)
    for call in (
        lambda: blobs.missing([LARGE_DIGEST]),
        lambda: read_all(blobs, LARGE_DIGEST),
        lambda: blobs.put(LARGE),
        lambda: (blobs.put(b"small"), blobs.sync()),
        lambda: RemoteDirectoryService(channel).get_many([ROOT.digest]),
        lambda: list(RemoteDirectoryService(channel).closure(ROOT.digest)),
    ):
        with pytest.raises(StoreUnavailable):
            call()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, StoreRefused),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, StoreFull),
        (grpc.StatusCode.INTERNAL, StoreFailed),
        (grpc.StatusCode.UNIMPLEMENTED, StoreFailed),
    ],
)
def test_what_statuses_become(hostile: Hostile, code: grpc.StatusCode, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"because|Method not found"):
        RemoteBlobService(hostile({STAT: refuses(code)})).missing([LARGE_DIGEST])


def test_a_server_of_the_earlier_generation_is_found_and_remembered(hostile: Hostile) -> None:
    blobs = RemoteBlobService(hostile({STAT: answer(b""), READ: answers([encode_frame(b"x")])}, generation="tvix"))
    assert blobs.open(digest_of(b"x")) is not None
    assert blobs.missing([LARGE_DIGEST]) == set()
    assert [contents for _digest, contents in blobs.read_many([digest_of(b"x")] * 40)] == [b"x"] * 40


def test_a_server_that_wants_every_child_in_the_same_stream_gets_it(hostile: Hostile) -> None:
    stored: dict[Digest, Directory] = {}
    puts: list[int] = []

    def get(request: bytes, context: Foreign) -> Iterator[bytes]:
        digest, recursive = digest_and_flag(request, "request")
        if recursive:
            yield from (
                directory.encoded for directory in breadth_first(digest, lambda wanted: {d: stored[d] for d in wanted}, "test")
            )
        elif digest in stored:
            yield stored[digest].encoded
        else:
            context.abort(grpc.StatusCode.NOT_FOUND, "no")

    def put(requests: Iterator[bytes], context: Foreign) -> bytes:
        sent: dict[Digest, Directory] = {}
        for request in requests:
            directory = Directory.decode(request)
            if any(child.digest not in sent for child in directory.children()):
                context.abort(grpc.StatusCode.INTERNAL, "a child was not sent")
            sent[directory.digest] = directory
        puts.append(len(sent))
        stored.update(sent)
        return encode_digest(list(sent)[-1])

    directories = RemoteDirectoryService(
        hostile(
            {GET_DIRECTORY: grpc.unary_stream_rpc_method_handler(get), PUT_DIRECTORY: grpc.stream_unary_rpc_method_handler(put)}
        )
    )
    middle = Directory.of([(Name(b"leaf"), LEAF.node)])
    top = Directory.of([(Name(b"middle"), middle.node), (Name(b"other"), OTHER.node)])
    assert directories.put([LEAF, middle]) == middle.digest
    assert directories.put([OTHER, top]) == top.digest
    assert directories.put([Directory.of([(Name(b"top"), top.node)])]) in stored
    assert puts == [2, 4, 5]
