"""For any tree and any path info: four ways to a NAR agree, and what is encoded is what is decoded."""

from __future__ import annotations

import io
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from tvix.castore.digests import digest_of
from tvix.castore.nodes import DirectoryNode, FileNode, SymlinkNode
from tvix.errors import TvixError
from tvix.nix_compat.content_address import ContentAddress
from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.nar.writer import NarWriter
from tvix.nix_compat.signatures import Signature
from tvix.nix_compat.store_path import NAME_CHARACTERS, StorePath, StorePathDigest
from tvix.store.addresses import open_store
from tvix.store.content_addressing import blanked
from tvix.store.exporting import export_nar
from tvix.store.importing import import_nar, import_path
from tvix.store.nar_hash import hash_path
from tvix.store.path_info import PathInfo
from tvix.store.path_info_codec import decode_path_info, encode_path_info
from tvix.store.path_info_json import parse_path_infos, path_infos_object
from tvix.testing.tree_strategies import trees
from tvix.testing.trees import Tree, make_tree, visit_tree


@given(trees)
def test_every_way_to_a_nar_agrees(tree: Tree) -> None:
    written = io.BytesIO()
    writer = NarWriter(written.write)
    visit_tree(tree, writer)
    writer.close()
    nar = written.getvalue()
    with TemporaryDirectory() as folder:
        path = make_tree(Path(folder) / "tree", tree)
        assert hash_path(path) == (len(nar), sha256(nar).digest())
        store = open_store("memory:")
        info = import_path(store, path)
    assert (info.nar_size, info.nar_sha256) == (len(nar), sha256(nar).digest())
    rendered = io.BytesIO()
    export_nar(store, info.path, rendered.write)
    assert rendered.getvalue() == nar
    assert import_nar(open_store("memory:"), io.BytesIO(nar).read, "tree") == info


names = st.text(NAME_CHARACTERS.replace(".", ""), min_size=1, max_size=211)
paths = st.builds(StorePath, st.binary(min_size=20, max_size=20).map(StorePathDigest), names)
derivers = st.builds(
    StorePath, st.binary(min_size=20, max_size=20).map(StorePathDigest), names.map(lambda name: name[:207] + ".drv")
)
sizes = st.integers(0, (1 << 64) - 1)
digests = st.binary(max_size=3).map(digest_of)
hashes = st.binary(max_size=3).map(lambda text: sha256(text).digest())
nodes = st.one_of(
    st.builds(DirectoryNode, digests, sizes),
    st.builds(FileNode, digests, sizes, st.booleans()),
    st.builds(SymlinkNode, st.binary(min_size=1, max_size=50).filter(lambda target: b"\0" not in target)),
)
path_infos = st.builds(
    PathInfo,
    path=paths,
    node=nodes,
    nar_size=st.integers(1, (1 << 63) - 1),
    nar_sha256=hashes,
    references=st.sets(paths, max_size=4).map(lambda references: tuple(sorted(references))),
    signatures=st.lists(
        st.builds(Signature, st.text("abc-1", min_size=1), st.binary(min_size=64, max_size=64)), max_size=3, unique=True
    ).map(tuple),
    deriver=st.none() | derivers,
    content_address=st.none()
    | st.builds(ContentAddress, st.sampled_from(["nar", "flat", "text"]), st.builds(Hash, st.just("sha256"), hashes)),
)


@given(path_infos)
def test_a_path_info_survives_its_message(info: PathInfo) -> None:
    assert decode_path_info(encode_path_info(info)) == info


@given(path_infos)
def test_a_path_info_survives_its_json(info: PathInfo) -> None:
    import json

    (told,) = parse_path_infos(json.dumps(path_infos_object([info])), "INFO")
    assert told.with_node(info.node) == info


@given(path_infos, st.data())
def test_a_damaged_message_is_refused_or_is_another_valid_one(info: PathInfo, data: st.DataObject) -> None:
    encoded = bytearray(encode_path_info(info))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_path_info(bytes(encoded))
    except TvixError:
        return
    assert decode_path_info(encode_path_info(other)) == other


@given(st.text("ab", max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_blanking_does_not_depend_on_the_pieces(text: str, cuts: list[int]) -> None:
    contents = text.encode()
    edges = sorted({0, len(contents), *(cut for cut in cuts if cut <= len(contents))})
    pieces = [contents[start:end] for start, end in pairwise(edges)]
    assert b"".join(map(bytes, blanked(pieces, b"aab"))) == b"".join(map(bytes, blanked([contents], b"aab")))
