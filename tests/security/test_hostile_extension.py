"""Servers that lie in the extension protocol: each lie ends in an error that says so, and nothing wrong is handed out or kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tvix.castore.blobs.interface import CorruptBlob
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.interface import CorruptDirectory, IncompleteClosure
from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode, Name
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.remote_errors import StoreFailed
from tvix.castore.transfer.closure_message import ClosurePart, encode_closure_part
from tvix.castore.transfer.messages import ANNOUNCEMENT, DIRECTORIES, Frame, decode_ask, encode_frame
from tvix.castore.transfer.requests import (
    Description,
    decode_missing_request,
    decode_put_blobs,
    encode_description,
    encode_missing_response,
    encode_put_blobs_response,
)
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.addresses import open_store
from tvix.store.closure import MissingReference, closure
from tvix.store.closure_roots.codec import encode_signed_root
from tvix.store.closure_roots.interface import SignedRoot
from tvix.store.path_info import PathInfo
from tvix.store.path_info_codec import InvalidPathInfo, encode_path_info
from tvix.store.path_infos.batch_messages import encode_path_info_list
from tvix.store.store import Store
from tvix.testing.framed_peer import Behaviour, FramedPeer

TRANSFER = "/tvix_appliance.castore.v1.Transfer"
INFOS = "/tvix_appliance.store.v1.PathInfos"
ROOTS = "/tvix_appliance.store.v1.ClosureRoots"
FEATURES = ("missing", "put-blobs", "put-chunked", "closure", "push", "record", "path-infos", "closure-roots")

BLOBS = [b"%d" % number for number in range(20)]
DIGESTS = [digest_of(blob) for blob in BLOBS]
LEAF = Directory.of([(Name(b"x"), FileNode(digest_of(b""), 0, False))])
ROOT = Directory.of([(Name(b"leaf"), LEAF.node)])
OTHER = Directory.of([(Name(b"y"), FileNode(digest_of(b""), 0, False))])

Hostile = Callable[[dict[str, Behaviour]], Store]


def answers(*messages: bytes) -> Behaviour:
    """Whatever is asked."""

    def behave(requests: Iterator[bytes]) -> Iterator[bytes]:
        for _request in requests:
            pass
        yield from messages

    return behave


def about(make: Callable[[bytes], Iterable[bytes]]) -> Behaviour:
    """By the first request."""

    def behave(requests: Iterator[bytes]) -> Iterator[bytes]:
        for request in requests:
            yield from make(request)
            return

    return behave


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Hostile]:
    opened: list[tuple[FramedPeer, Store]] = []

    def start(methods: dict[str, Behaviour]) -> Store:
        describe = answers(encode_description(Description("liar", True, FEATURES, 1 << 24)))
        peer = FramedPeer(f"{tmp_path}/{len(opened)}", {f"{TRANSFER}/Describe": describe} | methods)
        opened.append((peer, open_store(f"{peer.url}?deadline=5")))
        return opened[-1][1]

    yield start
    for peer, store in opened:
        store.blobs._channel.close()  # type: ignore[attr-defined]
        peer.close()


@pytest.mark.parametrize("bits", [b"", b"\x0a\x01\xff", b"\x0a\x04\xff\xff\xff\xff", b"\x0a\x05\xff", b"\x08\x01"])
def test_missing_bits_of_another_length(hostile: Hostile, bits: bytes) -> None:
    store = hostile({f"{TRANSFER}/Missing": answers(bits)})
    with pytest.raises(MalformedMessage):
        store.blobs.missing(DIGESTS)
    with pytest.raises(MalformedMessage):
        store.directories.missing(DIGESTS)


def all_missing(request: bytes) -> Iterable[bytes]:
    yield encode_missing_response([True] * len(decode_missing_request(request)[0]))


def digests_of(request: bytes) -> list[Digest]:
    return [digest_of(blob.contents) for blob in decode_put_blobs(request)]


LYING_PUTS: list[tuple[Callable[[bytes], Iterable[bytes]], type[Exception]]] = [
    (lambda _request: [encode_put_blobs_response([digest_of(b"else")] * 20)], CorruptBlob),
    (
        lambda request: [encode_put_blobs_response([digest_of(blob.contents) for blob in decode_put_blobs(request)][:-1])],
        StoreFailed,
    ),
    (lambda _request: [b""], StoreFailed),
    (lambda _request: [b"\x0a\x03abc"], MalformedMessage),
]


@pytest.mark.parametrize(("lie", "error"), LYING_PUTS)
def test_uploads_that_are_stored_as_something_else(
    hostile: Hostile, lie: Callable[[bytes], Iterable[bytes]], error: type[Exception]
) -> None:
    store = hostile({f"{TRANSFER}/Missing": about(all_missing), f"{TRANSFER}/PutBlobs": about(lie)})
    for blob in BLOBS:
        store.blobs.put(blob)
    with pytest.raises(error):
        store.sync()
    store.sync()  # who has been told of it isn't told again


def fetched(make: Callable[[list[int], list[Digest]], Iterable[Frame]]) -> Behaviour:
    """Frames by what is asked for."""

    def behave(request: bytes) -> Iterable[bytes]:
        ask = decode_ask(request)
        return [encode_frame(frame) for frame in make(list(ask.ids), list(ask.digests))]

    return about(behave)


def items(ids: list[int], blobs: list[bytes], **more: object) -> Frame:
    sizes = [len(blob) for blob in blobs]
    return Frame(ids, sizes, sizes, b"".join(blobs), **more)  # type: ignore[arg-type]


LYING_FETCHES: dict[str, tuple[Callable[[list[int], list[Digest]], Iterable[Frame]], type[Exception]]] = {
    "other bytes": (lambda ids, _digests: [items(ids, [b"?" + blob for blob in BLOBS])], CorruptBlob),
    "exchanged": (lambda ids, _digests: [items(ids[::-1], BLOBS)], CorruptBlob),
    "ids not asked": (lambda ids, _digests: [items([n + 100 for n in ids], BLOBS)], StoreFailed),
    "twice": (lambda ids, _digests: [items(ids, BLOBS)] * 2, StoreFailed),
    "twice in one": (lambda ids, _digests: [items(ids + ids[:1], BLOBS + BLOBS[:1])], StoreFailed),
    "here and missing": (lambda ids, _digests: [items(ids, BLOBS, missing=ids)], StoreFailed),
    "ends early": (lambda ids, _digests: [items(ids[:5], BLOBS[:5])], StoreFailed),
    "says nothing": (lambda _ids, _digests: [Frame()] * 3, StoreFailed),
    "another kind": (lambda ids, _digests: [items(ids, BLOBS, kind=ANNOUNCEMENT)], StoreFailed),
    "no zstd": (lambda ids, _digests: [Frame(ids[:1], [100], [7], b"no zstd")], MalformedMessage),
    "an explosive": (lambda ids, _digests: [Frame(ids[:1], [0xFFFFFFFF], [7], b"no zstd")], StoreFailed),
}


@pytest.mark.parametrize("name", LYING_FETCHES)
def test_fetches_of_something_else(hostile: Hostile, name: str) -> None:
    make, error = LYING_FETCHES[name]

    def lie(ids: list[int], digests: list[Digest]) -> Iterable[Frame]:
        return make(ids, digests) if len(ids) == len(BLOBS) else [items([], [], missing=ids)] * (name != "twice")

    store = hostile({f"{TRANSFER}/Fetch": fetched(lie)})
    if name == "twice":  # everything had been answered: nobody listens any more
        assert [bytes(contents or b"") for _digest, contents in store.blobs.read_many(DIGESTS)] == BLOBS
        return
    with pytest.raises(error):
        list(store.blobs.read_many(DIGESTS))


def test_directories_of_other_bytes(hostile: Hostile) -> None:
    store = hostile({f"{TRANSFER}/Fetch": fetched(lambda ids, _digests: [items(ids, [OTHER.encoded, LEAF.encoded])])})
    with pytest.raises(CorruptDirectory):
        store.directories.get_many([ROOT.digest, LEAF.digest])


def closure_frame(directories: list[Directory], root: bytes = ROOT.digest, **more: object) -> bytes:
    payload = encode_closure_part(ClosurePart([directory.encoded for directory in directories], {}))
    return encode_frame(Frame(payload=payload, kind=DIRECTORIES, root=root, **more))  # type: ignore[arg-type]


LYING_CLOSURES: dict[str, tuple[list[bytes], type[Exception]]] = {
    "incomplete": ([closure_frame([ROOT])], IncompleteClosure),
    "of another root": ([closure_frame([ROOT, LEAF], LEAF.digest)], StoreFailed),
    "with a stranger": ([closure_frame([ROOT, OTHER])], CorruptDirectory),
    "children first": ([closure_frame([LEAF, ROOT])], CorruptDirectory),
    "cut off": ([closure_frame([ROOT], more=True)], StoreFailed),
    "nothing at all": ([], StoreFailed),
    "no directories": ([encode_frame(Frame(payload=b"\xff\xff\xff\xff", kind=DIRECTORIES, root=ROOT.digest))], MalformedMessage),
    "explosive": (
        [encode_frame(Frame(payload=b"x", kind=DIRECTORIES, root=ROOT.digest, codec=1, raw_size=0xFFFFFFFF))],
        MalformedMessage,
    ),
}


@pytest.mark.parametrize("name", LYING_CLOSURES)
def test_closures_of_something_else(hostile: Hostile, name: str) -> None:
    messages, error = LYING_CLOSURES[name]
    store = hostile({f"{TRANSFER}/Fetch": answers(*messages)})
    with pytest.raises(error):
        list(store.directories.closure(ROOT.digest))


def info_of(number: int, references: Iterable[int] = ()) -> PathInfo:
    paths = tuple(StorePath(StorePathDigest(bytes([n]) * 20), "path") for n in references)
    return PathInfo(StorePath(StorePathDigest(bytes([number]) * 20), "path"), LEAF.node, 1, bytes(32), paths)


def infos(*listed: PathInfo) -> bytes:
    return encode_path_info_list([encode_path_info(info) for info in listed])


def test_path_infos_that_werent_asked_for(hostile: Hostile) -> None:
    store = hostile({f"{INFOS}/GetMany": answers(infos(info_of(1), info_of(3)))})
    with pytest.raises(InvalidPathInfo, match="without being asked"):
        store.path_infos.get_many([info_of(1).path.digest, info_of(2).path.digest])


def test_a_path_info_twice(hostile: Hostile) -> None:
    store = hostile({f"{INFOS}/GetMany": answers(infos(info_of(1), info_of(1)))})
    with pytest.raises(InvalidPathInfo, match="without being asked"):
        store.path_infos.get_many([info_of(1).path.digest, info_of(2).path.digest])


def test_a_closure_with_something_left_out(hostile: Hostile) -> None:
    store = hostile(
        {f"{INFOS}/Closure": answers(infos(info_of(1, [2, 3]), info_of(3))), "/snix.store.v1.PathInfoService/Get": answers(b"")}
    )
    with pytest.raises((MissingReference, InvalidPathInfo)):
        closure(store.path_infos, [info_of(1).path])


def test_a_closure_with_something_more(hostile: Hostile) -> None:
    store = hostile({f"{INFOS}/Closure": answers(infos(info_of(1, [2])), infos(info_of(2), info_of(9)))})
    with pytest.raises(InvalidPathInfo, match="without being asked"):
        closure(store.path_infos, [info_of(1).path])


@pytest.mark.parametrize("listed", [[info_of(1)], [info_of(1), info_of(3)], []])
def test_path_infos_stored_as_others(hostile: Hostile, listed: list[PathInfo]) -> None:
    store = hostile({f"{INFOS}/PutMany": answers(infos(*listed))})
    with pytest.raises((InvalidPathInfo, StoreFailed)):
        store.path_infos.put_many([info_of(1), info_of(2)])


def test_a_signed_root_of_another_path(hostile: Hostile) -> None:
    signed = encode_signed_root(SignedRoot(info_of(2).path, ROOT.digest))
    store = hostile({f"{ROOTS}/Get": answers(signed), f"{ROOTS}/Put": answers(signed)})
    assert store.closure_roots is not None
    with pytest.raises(StoreFailed):
        store.closure_roots.get(info_of(1).path.digest)
    with pytest.raises(StoreFailed):
        store.closure_roots.put(SignedRoot(info_of(1).path, ROOT.digest))


@pytest.mark.parametrize(
    "frame", [Frame(kind=ANNOUNCEMENT, root=LEAF.digest), Frame(kind=ANNOUNCEMENT, root=ROOT.digest, payload=b"x")]
)
def test_a_hot_set_of_something_else(hostile: Hostile, frame: Frame) -> None:
    store = hostile({f"{TRANSFER}/Fetch": answers(encode_frame(frame))})
    assert store.hot_sets is not None
    with pytest.raises((StoreFailed, MalformedMessage)):
        store.hot_sets.get_hot_set(ROOT.digest, "boot")
