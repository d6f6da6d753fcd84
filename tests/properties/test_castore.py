"""What holds for every directory, tree, blob and sequence of calls."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tvix.castore.addresses import InvalidStoreUrl, parse_address
from tvix.castore.blobs.interface import Buffer
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.blobs.near_far import NearFarBlobService
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.chunking import Chunker
from tvix.castore.digests import Digest, digest_of, parse_digest, print_digest
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.directory import Directory, InvalidDirectory, _decode_carefully
from tvix.castore.directory_decoding import decode_usual_entries
from tvix.castore.export import export_tree
from tvix.castore.ingest.filesystem import ingest_tree
from tvix.castore.nodes import DirectoryNode, FileNode, Node, SymlinkNode, check_name
from tvix.castore.pack.rebuild import rebuild_index
from tvix.castore.pack.store import PackStore

names = (
    st.binary(min_size=1, max_size=255)
    .map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0"))
    .filter(lambda raw: raw not in (b".", b".."))
    .map(check_name)
)
digests = st.binary(min_size=32, max_size=32).map(Digest)
sizes = st.one_of(st.integers(0, 300), st.integers(0, (1 << 58) - 1))
nodes = st.one_of(
    st.builds(DirectoryNode, digests, sizes),
    st.builds(FileNode, digests, st.integers(0, (1 << 64) - 1), st.booleans()),
    st.builds(SymlinkNode, st.binary(min_size=1, max_size=300).map(lambda raw: raw.replace(b"\0", b"0"))),
)
entries = st.dictionaries(names, nodes, max_size=12)


@given(entries)
def test_a_directory_decodes_to_what_was_encoded(entries: dict[bytes, Node]) -> None:
    directory = Directory.of(entries.items())  # type: ignore[arg-type]
    decoded = Directory.decode(directory.encoded)
    assert list(decoded.entries.items()) == sorted(entries.items())
    assert decoded.digest == directory.digest == digest_of(directory.encoded)
    assert decoded.size == 2 * len(entries) + sum(node.size for node in entries.values() if isinstance(node, DirectoryNode))


@given(entries, st.data())
def test_the_fast_decoder_takes_nothing_that_the_careful_one_refuses(entries: dict[bytes, Node], data: st.DataObject) -> None:
    encoded = bytearray(Directory.of(entries.items()).encoded)  # type: ignore[arg-type]
    for _ in range(data.draw(st.integers(0, 3))):
        if encoded:
            position = data.draw(st.integers(0, len(encoded) - 1))
            change = data.draw(st.sampled_from(["set", "delete", "insert", "cut"]))
            if change == "set":
                encoded[position] = data.draw(st.integers(0, 255))
            elif change == "delete":
                del encoded[position]
            elif change == "insert":
                encoded.insert(position, data.draw(st.integers(0, 255)))
            else:
                del encoded[position:]
    fast = decode_usual_entries(bytes(encoded))
    try:
        careful = _decode_carefully(bytes(encoded))
    except InvalidDirectory:
        assert fast is None
        return
    assert fast is None or list(fast.items()) == list(careful.items())
    assert Directory.of(careful.items()).encoded == bytes(encoded)


@given(st.binary(max_size=200))
def test_noise_is_refused_or_canonical(noise: bytes) -> None:
    try:
        decoded = Directory.decode(noise)
    except InvalidDirectory:
        return
    assert Directory.of(decoded.entries.items()).encoded == noise


@given(digests)
def test_digests_are_printed_and_parsed(digest: Digest) -> None:
    assert parse_digest(print_digest(digest)) == parse_digest(digest.hex()) == digest


@given(st.text(max_size=40), st.sampled_from(["memory", "pack", "grpc+http", "grpc+unix", "cache", ""]))
def test_an_address_is_understood_or_refused(rest: str, scheme: str) -> None:
    try:
        address = parse_address(f"{scheme}:{rest}")
    except InvalidStoreUrl:
        return
    assert address.scheme == scheme


@given(st.integers(0, 1 << 20), st.lists(st.integers(1, 200_000), min_size=1, max_size=8), st.integers(0, 1 << 32))
def test_chunks_depend_on_contents_alone(size: int, steps: list[int], seed: int) -> None:
    data = random.Random(seed).randbytes(size)

    def cut(steps: list[int]) -> list[bytes]:
        chunker, chunks, offset, number = Chunker(4096), list[Buffer](), 0, 0
        while offset < len(data):
            step = steps[number % len(steps)]
            chunks += [bytes(chunk) for chunk in chunker.feed(data[offset : offset + step])]
            offset += step
            number += 1
        return [bytes(chunk) for chunk in (*chunks, *chunker.finish())]

    chunks = cut(steps)
    assert b"".join(chunks) == data
    assert chunks == cut([1 << 21])


trees = st.recursive(
    st.one_of(
        st.tuples(st.just("file"), st.binary(max_size=50), st.booleans()),
        st.tuples(st.just("symlink"), st.binary(min_size=1, max_size=50).map(lambda raw: raw.replace(b"\0", b"0")), st.none()),
    ),
    lambda below: st.tuples(st.just("directory"), st.dictionaries(names, below, max_size=5), st.none()),
    max_leaves=15,
)


def stored(tree: tuple[str, object, bool | None], blobs: MemoryBlobService, directories: MemoryDirectoryService) -> Node:
    kind, contents, executable = tree
    if kind == "file":
        return FileNode(blobs.put(contents), len(contents), bool(executable))  # type: ignore[arg-type]
    if kind == "symlink":
        return SymlinkNode(contents)  # type: ignore[arg-type]
    directory = Directory.of((name, stored(below, blobs, directories)) for name, below in contents.items())  # type: ignore[attr-defined]
    directories.put([directory])
    return directory.node


@given(trees)
def test_what_is_exported_is_ingested_as_it_was(tree: tuple[str, object, bool | None]) -> None:
    blobs, directories = MemoryBlobService(), MemoryDirectoryService()
    node = stored(tree, blobs, directories)
    with tempfile.TemporaryDirectory() as folder:
        export_tree(blobs, directories, node, Path(folder) / "out")
        assert ingest_tree(Path(folder) / "out", MemoryBlobService(), MemoryDirectoryService()) == node


steps = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "large", "abort", "sync", "reopen", "rebuild", "read"]), st.integers(0, 20)),
    max_size=25,
)


@given(steps)
def test_a_pack_store_is_a_dictionary(steps: list[tuple[str, int]]) -> None:
    known: dict[Digest, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = PackStore(Path(folder) / "s")
        blobs = PackBlobService(store, 1024)
        for step, number in steps:
            contents = random.Random(number).randbytes(number * 50 if step == "put" else 3000 + number * 1000)
            if step in ("put", "large"):
                known[blobs.put(contents)] = contents
            elif step == "abort":
                writer = blobs.writer()
                writer.write(contents)
                writer.abort()
            elif step == "sync":
                store.sync()
            elif step in ("reopen", "rebuild"):
                store.close()
                if step == "rebuild":
                    assert rebuild_index(Path(folder) / "s").damaged == []
                store = PackStore(Path(folder) / "s")
                blobs = PackBlobService(store, 1024)
            for digest, expected in known.items():
                reader = blobs.open(digest)
                assert reader is not None
                assert bytes(reader.read_at(number, 5000)) == expected[number : number + 5000]
        assert blobs.missing(list(known)) == set()
        store.close()


@given(
    st.integers(1, 400_000), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 300_000), st.integers(1, 200_000)), max_size=20)
)
def test_a_near_end_of_any_size_serves_every_range(max_bytes: int, reads: list[tuple[int, int, int]]) -> None:
    far = MemoryBlobService()
    contents = [random.Random(number).randbytes(number**3 * 400) for number in range(10)]
    digests = [far.put(each) for each in contents]
    service = NearFarBlobService(MemoryBlobService(max_bytes), far, "far:")
    for number, offset, length in reads:
        reader = service.open(digests[number])
        assert reader is not None
        assert bytes(reader.read_at(offset, length)) == contents[number][offset : offset + length]
        assert reader.size == len(contents[number])
