"""The methods of the extension protocol, called as a transport calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from queue import SimpleQueue
from typing import Any

import pytest
import zstandard

from tvix.castore.blobs.interface import Buffer, Chunk, StoredBlob
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directory import Directory
from tvix.castore.nodes import Name, SymlinkNode
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.transfer.messages import FOREGROUND, SERVICE, SIBLINGS, Ask, Frame, decode_frame, encode_ask
from tvix.castore.transfer.requests import (
    decode_description,
    decode_missing_response,
    decode_put_blobs_response,
    encode_missing_request,
    encode_put_blobs,
    encode_put_chunked,
)
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.extension import extension_methods
from tvix.grpc_api.fetch_queue import STREAM_IDS_MAX, TooMuchAsked
from tvix.grpc_api.methods import MethodTable
from tvix.grpc_api.status import NotHere
from tvix.grpc_api.transfer_service import WrongBlob
from tvix.nix_compat.signatures import SigningKey
from tvix.nix_compat.store_path import StorePath, StorePathDigest, source_path
from tvix.store.addresses import open_store
from tvix.store.closure_roots.codec import decode_signed_root, encode_signed_root
from tvix.store.closure_roots.interface import SignedRoot
from tvix.store.completeness import IncompleteRoot
from tvix.store.path_info import PathInfo
from tvix.store.path_info_codec import decode_path_info, encode_path_info
from tvix.store.path_infos.batch_messages import (
    CLOSURE_ROOTS,
    PATH_INFOS,
    decode_path_info_list,
    encode_digests,
    encode_path_info_list,
)
from tvix.store.path_infos.checking import WrongNarHash
from tvix.store.store import Store

READER, WRITER = Caller("anonymous", may_write=False), Caller("unix", may_write=True)
ABSENT = digest_of(b"never stored")


class Server:
    """The methods over a store in memory; `synced` counts what was made durable."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.synced = 0
        sync = self._sync
        self.table = MethodTable(
            extension_methods(store, sync_blobs=sync, sync_directories=sync, sync_path_infos=sync, message_bytes=16 << 20)
        )

    def _sync(self) -> None:
        self.synced += 1

    def call(self, service: str, name: str, request: bytes, caller: Caller = WRITER) -> bytes:
        answer = self._method(service, name)(request, caller)
        assert isinstance(answer, bytes)
        return answer

    def stream(self, service: str, name: str, request: bytes | Iterator[bytes]) -> Iterator[bytes]:
        found: Iterator[bytes | Sequence[Buffer]] = self._method(service, name)(request, READER)
        for message in found:
            yield message if isinstance(message, bytes) else b"".join(message)

    def _method(self, service: str, name: str) -> Callable[[Any, Caller], Any]:
        method = self.table.get(f"/{service}/{name}")
        assert method is not None
        return method.function


@pytest.fixture
def server() -> Iterator[Server]:
    with open_store("memory:") as store:
        yield Server(store)


def test_a_description_says_what_a_caller_may(server: Server) -> None:
    for caller in (READER, WRITER):
        description = decode_description(server.call(SERVICE, "Describe", b"", caller))
        assert description.writable == caller.may_write
        assert {"missing", "put-blobs", "put-chunked", "push", "record", "closure", "closure-roots", "path-infos"} == set(
            description.features
        )
        assert description.program.startswith("tvix ")
        assert description.message_bytes == 16 << 20


def test_a_store_without_hot_sets_and_signed_roots_says_so(server: Server) -> None:
    store = Store(server.store.blobs, server.store.directories, server.store.path_infos)
    other = Server(store)
    assert set(decode_description(other.call(SERVICE, "Describe", b"")).features).isdisjoint({"push", "record", "closure-roots"})
    assert other.table.get(f"/{CLOSURE_ROOTS}/Get") is None


def test_those_that_need_writing_say_so(server: Server) -> None:
    writing = {path.rpartition("/")[2] for path, method in server.table if method.needs_write}
    assert writing == {"PutBlobs", "PutChunked", "PutMany", "Put"}


def test_missing(server: Server) -> None:
    here = server.store.blobs.put(b"here")
    directory = server.store.directories.put([Directory.of([(Name(b"l"), SymlinkNode(b"t"))])])
    asked = [ABSENT, here, directory] * 5
    blobs = server.call(SERVICE, "Missing", encode_missing_request(asked))
    assert decode_missing_response(blobs, 15) == [True, False, True] * 5
    directories = server.call(SERVICE, "Missing", encode_missing_request(asked, directories=True))
    assert decode_missing_response(directories, 15) == [True, True, False] * 5


def test_blobs_are_put_plain_and_compressed(server: Server) -> None:
    contents = [b"", b"one", b"again " * 100]
    packed = [StoredBlob(len(piece), piece) for piece in contents[:2]]
    packed.append(StoredBlob(600, zstandard.compress(contents[2])))
    digests = decode_put_blobs_response(server.call(SERVICE, "PutBlobs", encode_put_blobs(packed)))
    assert digests == [digest_of(piece) for piece in contents]
    assert [found for _digest, found in server.store.blobs.read_many(digests)] == contents
    assert server.synced == 1


@pytest.mark.parametrize(
    "blob",
    [
        StoredBlob(600, zstandard.compress(b"again " * 101)),
        StoredBlob(600, b"no zstd frame"),
        StoredBlob(13 << 20, zstandard.compress(bytes(13 << 20))),
    ],
    ids=["size", "garbage", "large"],
)
def test_blobs_that_are_not_what_is_said(server: Server, blob: StoredBlob) -> None:
    with pytest.raises(MalformedMessage):
        server.call(SERVICE, "PutBlobs", encode_put_blobs([blob]))


def test_a_bomb_is_refused_before_it_is_opened(server: Server) -> None:
    bomb = StoredBlob(12 << 20, zstandard.compress(bytes(12 << 20)))
    with pytest.raises(MalformedMessage, match="holds over"):
        server.call(SERVICE, "PutBlobs", encode_put_blobs([bomb] * 30))


def test_a_large_blob_of_chunks(server: Server) -> None:
    pieces = [bytes([number]) * 100_000 for number in range(5)]
    whole = b"".join(pieces)
    chunks = [Chunk(server.store.blobs.put(piece), len(piece)) for piece in pieces]
    server.call(SERVICE, "PutChunked", encode_put_chunked(digest_of(whole), chunks))
    reader = server.store.blobs.open(digest_of(whole))
    assert reader is not None
    assert reader.read_at(0, reader.size) == whole
    assert server.synced == 1
    server.call(SERVICE, "PutChunked", encode_put_chunked(digest_of(whole), chunks))


def test_chunks_that_do_not_make_the_blob(server: Server) -> None:
    one, two = (Chunk(server.store.blobs.put(piece), len(piece)) for piece in (b"one", b"two"))
    digest = digest_of(b"onetwo")
    for chunks, reason in (
        ([two, one], "its chunks make"),
        ([one, Chunk(ABSENT, 3)], "is not here"),
        ([one, Chunk(two.digest, 4)], "has 3 bytes, not 4"),
    ):
        with pytest.raises(WrongBlob, match=reason):
            server.call(SERVICE, "PutChunked", encode_put_chunked(digest, chunks))
    assert server.store.blobs.missing([digest]) == {digest}


def frames(server: Server, asks: Iterator[bytes]) -> Iterator[Frame]:
    return map(decode_frame, server.stream(SERVICE, "Fetch", asks))


def test_a_stream_ends_when_nothing_is_left(server: Server) -> None:
    digests = [server.store.blobs.put(bytes([n])) for n in range(50)]
    found = frames(server, iter([encode_ask(Ask(ids=range(50), digests=digests))]))
    assert sorted(number for frame in found for number in frame.ids) == list(range(50))


def test_asks_are_heard_while_nobody_takes_answers(server: Server) -> None:
    digests = [server.store.blobs.put(bytes([n]) * 1000) for n in range(50)]
    asks: SimpleQueue[bytes | None] = SimpleQueue()
    heard: SimpleQueue[None] = SimpleQueue()

    def listen() -> Iterator[bytes]:
        while (ask := asks.get()) is not None:
            yield ask
            heard.put(None)

    asks.put(encode_ask(Ask(ids=range(50), digests=digests, priority=SIBLINGS, max_frame=2000)))
    answers = frames(server, listen())
    first = next(answers)
    heard.get(timeout=10)
    asks.put(encode_ask(Ask(promote=(40,))))
    asks.put(encode_ask(Ask(ids=(99,), digests=(digests[0],), priority=FOREGROUND)))
    for _ in range(2):
        heard.get(timeout=10)
    overtaking: set[int] = set()
    while len(overtaking) < 2:
        overtaking.update(next(answers).ids)
    assert overtaking == {40, 99}
    asks.put(None)
    rest = sorted(number for frame in answers for number in frame.ids)
    assert rest == sorted({*range(50)} - {*first.ids} - {40})


def test_a_stream_waits_for_asks(server: Server) -> None:
    digest = server.store.blobs.put(b"x")
    turns: SimpleQueue[int] = SimpleQueue()

    def ask_for_the_next_when_one_has_come() -> Iterator[bytes]:
        for number in range(20):
            yield encode_ask(Ask(ids=(number,), digests=(digest,)))
            assert turns.get(timeout=10) == number

    for frame in frames(server, ask_for_the_next_when_one_has_come()):
        turns.put(frame.ids[0])


def test_what_is_wrong_with_an_ask_ends_the_stream(server: Server) -> None:
    too_many = Ask(ids=range(STREAM_IDS_MAX + 1), digests=[ABSENT] * (STREAM_IDS_MAX + 1))
    with pytest.raises(TooMuchAsked):
        list(frames(server, iter([encode_ask(too_many)])))
    with pytest.raises(MalformedMessage):
        list(frames(server, iter([b"\xff"])))


def test_a_caller_that_goes_away_leaves_nothing_behind(server: Server) -> None:
    asks: SimpleQueue[bytes] = SimpleQueue()
    digest = server.store.blobs.put(bytes(1000))
    asks.put(encode_ask(Ask(ids=range(1000), digests=[digest] * 1000, max_frame=1000)))
    answers = server.stream(SERVICE, "Fetch", iter(asks.get, b"end"))
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    asks.put(b"end")


def thing(store: Store, contents: bytes, references: Sequence[StorePath] = ()) -> PathInfo:
    node = Directory.of([(Name(b"link"), SymlinkNode(contents))])
    store.directories.put([node])
    size, digest = store.path_infos.calculate_nar(node.node)
    path = StorePath(StorePathDigest(sha256(contents).digest()[:20]), contents.decode())
    return PathInfo(path=path, node=node.node, references=tuple(references), nar_size=size, nar_sha256=digest)


def infos_in(message: bytes) -> list[PathInfo]:
    return [decode_path_info(encoded) for encoded in decode_path_info_list(message)]


def test_path_infos_by_the_hundred(server: Server) -> None:
    infos = [thing(server.store, b"thing-%d" % number) for number in range(100)]
    answer = server.call(PATH_INFOS, "PutMany", encode_path_info_list(map(encode_path_info, infos)))
    assert infos_in(answer) == infos
    assert server.synced == 1
    asked = encode_digests([info.path.digest for info in infos] + [StorePathDigest(bytes(20))])
    found = infos_in(server.call(PATH_INFOS, "GetMany", asked))
    assert {info.path for info in found} == {info.path for info in infos}


def test_a_lie_among_path_infos_stores_none(server: Server) -> None:
    true, false = thing(server.store, b"true"), thing(server.store, b"false")
    false = PathInfo(path=false.path, node=false.node, nar_size=false.nar_size, nar_sha256=bytes(32))
    with pytest.raises(WrongNarHash):
        server.call(PATH_INFOS, "PutMany", encode_path_info_list(map(encode_path_info, (true, false))))
    assert list(server.store.path_infos.list()) == []


def test_the_closure_of_path_infos(server: Server) -> None:
    leaf = thing(server.store, b"leaf")
    middle = [thing(server.store, b"middle-%d" % n, [leaf.path]) for n in range(3)]
    gone = source_path("gone", bytes(32))
    top = thing(server.store, b"top", [*(info.path for info in middle), gone])
    server.store.path_infos.put_many([leaf, *middle, top, thing(server.store, b"unrelated")])
    asked = encode_digests([top.path.digest, top.path.digest, gone.digest])
    found = [info for message in server.stream(PATH_INFOS, "Closure", asked) for info in infos_in(message)]
    assert next(info.path for info in found) == top.path
    assert sorted(info.path for info in found) == sorted(info.path for info in (top, *middle, leaf))


def test_signed_roots(server: Server) -> None:
    root = Directory.of([(Name(b"x"), SymlinkNode(b"y"))])
    path = source_path("x", bytes(32))
    with pytest.raises(NotHere):
        server.call(CLOSURE_ROOTS, "Get", encode_digests([path.digest]))
    signed = SignedRoot(path, root.digest).signed_by(SigningKey.generate("k"))
    with pytest.raises(IncompleteRoot):
        server.call(CLOSURE_ROOTS, "Put", encode_signed_root(signed))
    server.store.directories.put([root])
    assert decode_signed_root(server.call(CLOSURE_ROOTS, "Put", encode_signed_root(signed))) == signed
    assert decode_signed_root(server.call(CLOSURE_ROOTS, "Get", encode_digests([path.digest]))) == signed
    with pytest.raises(MalformedMessage):
        server.call(CLOSURE_ROOTS, "Get", encode_digests([path.digest] * 2))


def test_digests_of_the_wrong_length(server: Server) -> None:
    for service, name in ((SERVICE, "Missing"), (PATH_INFOS, "GetMany"), (CLOSURE_ROOTS, "Get")):
        with pytest.raises(MalformedMessage):
            server.call(service, name, b"\x0a\x05short")
    with pytest.raises(MalformedMessage):
        server.call(SERVICE, "PutChunked", encode_put_chunked(Digest(b"short"), []))
