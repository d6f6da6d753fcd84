"""Where both Python's `re` and our own machine can be used, they find the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tvix.eval.regex import pattern
from tvix.eval.regex.pattern import Pattern

_ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "[[:alpha:]]", "()", "^", "$", "\\."])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = inner.map("({})".format)
    quantified = st.tuples(group, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,2}", "{2,}", "{0}"])).map("".join)
    return st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join), st.tuples(inner, inner).map("({0[0]}|{0[1]})".format), quantified
    )


PATTERNS = st.recursive(_ATOMS, _larger, max_leaves=8)
TEXTS = st.text("abc.", max_size=10)


@settings(max_examples=300, deadline=None)
@given(PATTERNS, TEXTS)
def test_the_same_groups(written: str, text: str) -> None:
    found = Pattern(written)
    results = []
    before = pattern.EFFORT.steps
    for steps in (0, 1 << 40):
        pattern.EFFORT.steps = steps
        results.append((found.match(text), found.pieces(text)))
    pattern.EFFORT.steps = before
    assert results[0] == results[1]
