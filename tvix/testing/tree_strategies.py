"""Hypothesis strategies for trees and for what they are made of. Names and targets are drawn from all bytes that are allowed."""

from __future__ import annotations

from hypothesis import strategies as st

from tvix.testing.trees import Executable, Link, Tree

# Few bytes, so that names share prefixes and sort next to each other; all bytes, so that none is forgotten.
_CLOSE_BYTES = st.sampled_from(sorted(b"ab.-\n~\x01\xff"))
_ANY_BYTE = st.integers(1, 255).filter(lambda byte: byte != ord("/"))

names: st.SearchStrategy[bytes] = st.one_of(
    st.lists(_CLOSE_BYTES, min_size=1, max_size=6).map(bytes),
    st.lists(_ANY_BYTE, min_size=1, max_size=20).map(bytes),
    st.integers(200, 255).map(lambda size: b"n" * size),
).filter(lambda name: name not in (b".", b".."))
"""Names that a directory entry may have."""

targets: st.SearchStrategy[bytes] = st.one_of(
    st.lists(st.integers(1, 255), min_size=1, max_size=40).map(bytes), st.integers(4000, 4095).map(lambda size: b"t" * size)
)
"""Targets that a symlink may have."""

contents: st.SearchStrategy[bytes] = st.one_of(st.binary(max_size=40), st.integers(0, 70_000).map(lambda size: b"\x5a" * size))

leaves: st.SearchStrategy[Tree] = st.one_of(contents, contents.map(Executable), targets.map(Link))

trees: st.SearchStrategy[Tree] = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=6), max_leaves=25)
"""Trees of all shapes, a lone file or symlink among them."""
