"""What no case of tests/lang/parse can show: bytes, depth, names, offsets, and that nothing but errors of the language come out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvix.eval.errors import EvalError, StackOverflow, SyntaxError_
from tvix.eval.parser import parse
from tvix.eval.printer import canonical
from tvix.eval.source_printer import source
from tvix.eval.stack import on_deep_stack
from tvix.eval.syntax import AttributeSet, Binary, Expression, Function, Interpolated, LetIn, Literal
from tvix.eval.token_reader import MAX_NESTING

BASE = 7 << 32


def tree(text: str) -> Expression:
    return parse(text, BASE, pipes=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"a\rb\r\nc"', '"a\\nb\\nc"'),
        ("''a\rb\r\nc''", '"a\\rb\\r\\nc"'),
        ("''\n  a\r\n  b\r\n  ''", '"a\\r\\nb\\r\\n"'),
        ("# a\r1", "1"),
        ("1\r\n+\r2", "(1 + 2)"),
        ("1\0 2", "1"),
        ("# \0\n1", "1"),
        ("./a\0b", "/a"),
        ('"\xff"', '"\xff"'),
        ('"a\\\r\nb"', '"a\\r\\nb"'),
    ],
)
def test_bytes(text: str, expected: str) -> None:
    assert canonical(tree(text)) == expected


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ('"a\0b"', 1, "input string 'a\xe2\x90\x80b' cannot be represented as Nix string because it contains null bytes"),
        ("''\0''", 2, "input string '\xe2\x90\x80' cannot be represented as Nix string because it contains null bytes"),
        ("x:\0", 3, "syntax error, unexpected end of file"),
        ("\xef\xbb\xbf1", 0, "syntax error, unexpected invalid token"),
        ("(./a", 1, "syntax error, unexpected end of file, expecting ')'"),
    ],
)
def test_refused_bytes(text: str, offset: int, message: str) -> None:
    with pytest.raises(SyntaxError_) as caught:
        tree(text)
    assert (caught.value.detail, caught.value.position) == (message, BASE + offset)


def test_pipes_are_refused_where_they_are_not_allowed() -> None:
    for text in ("1 |> 2", "1 <| 2"):
        with pytest.raises(SyntaxError_, match="experimental Nix feature 'pipe-operators' is disabled"):
            parse(text, BASE, pipes=False)


NESTED = {
    "(": "({})",
    "[": "[{}]",
    "set": "{{a={};}}",
    "rec": "rec{{a={};}}",
    "old let": "let{{body={};}}",
    "string": '"${{{}}}"',
    "indented": "''${{{}}}''",
    "path": "./a/${{{}}}",
    "dynamic": "{{${{{}}}=1;}}",
    "inherit": "{{inherit({})a;}}",
    "!": "!{}",
    "-": "-{}",
    "function": "x: {}",
    "default": "{{x?{}}}: 1",
    "let": "let a=1; in {}",
    "with": "with a; {}",
    "assert": "assert a; {}",
    "else": "if a then a else {}",
    "if": "if {} then a else a",
    "or": "a.b or {}",
    "->": "a ->{}",
    "//": "a//{}",
    "++": "a++{}",
    "<|": "a<|{}",
    "+": "{}+a",
    "&&": "{}&&a",
    "?": "{}?a",
    "|>": "{}|>a",
    "left": "({})+a",
}


def _outcome(form: str, depth: int) -> str:
    before, after = form.format("\0").split("\0")
    text = before * depth + "a" + after * depth

    def outcome() -> str:
        try:
            result = tree(text)
        except StackOverflow as error:
            return error.detail
        canonical(result)
        return "a tree"

    return on_deep_stack(outcome)


@pytest.mark.parametrize("form", NESTED.values(), ids=NESTED.keys())
def test_nesting_of_thousands(form: str) -> None:
    assert _outcome(form, 3_000) == "a tree"


@pytest.mark.parametrize(
    "name", ["(", "[", "set", "string", "indented", "!", "-", "function", "let", "else", "or", "//", "+", "left"]
)
def test_nesting_ends_in_an_error(name: str) -> None:
    assert _outcome(NESTED[name], MAX_NESTING + 1) == "stack overflow; the source is nested too deeply"


@pytest.mark.parametrize("text", ["f" + " x" * 100_000, "a" + ".a" * 100_000, "[" + "1 " * 100_000 + "]", "/**/" * 100_000 + "1"])
def test_length_is_no_depth(text: str) -> None:
    on_deep_stack(lambda: canonical(tree(text)))


def test_path_characters_are_searched_once() -> None:
    """`1+1+1…` might be the beginning of a path at every sign; quadratic work would take minutes here."""
    on_deep_stack(lambda: tree("1" + "+1" * 40_000))
    on_deep_stack(lambda: tree("a" + ".a" * 200_000))


def test_functions_are_named_after_what_they_are_bound_to() -> None:
    result = tree("{ f = x: { y }: 1; g.h = (z: z); i = [ (a: a) ]; }")
    assert isinstance(result, AttributeSet)
    f, g, i = (result.attributes[name].value for name in "fgi")
    assert isinstance(f, Function)
    assert isinstance(f.body, Function)
    assert isinstance(g, AttributeSet)
    h = g.attributes["h"].value
    assert isinstance(h, Function)
    assert [f.name, f.body.name, h.name] == ["f", "f", "h"]
    assert i is not None
    assert "a: a" in canonical(i)


def test_offsets() -> None:
    text = 'let a.b  = 1; inherit  c; in (a) + "x${  a}"'
    result = tree(text)
    assert isinstance(result, LetIn)
    assert [attribute.position for attribute in result.bindings.attributes.values()] == [text.index("a.b"), text.index("c;")]
    total = result.body
    assert isinstance(total, Binary)
    assert (total.position, total.left.start, total.left.position) == (text.index("+"), text.index("(a"), text.index("a)"))
    string = total.right
    assert isinstance(string, Interpolated)
    assert (string.position, string.parts[1].start) == (text.index("x$"), text.index("${"))


def test_parses_share_nothing() -> None:
    first = tree("{ a = 1; }")
    with pytest.raises(SyntaxError_):
        tree('"${ {')
    second = tree("{ a = 1; }")
    assert isinstance(first, AttributeSet)
    first.attributes["b"] = first.attributes.pop("a")
    assert canonical(second) == "{ a = 1; }"


def test_numbers_at_their_limits() -> None:
    largest = tree("9223372036854775807")
    assert isinstance(largest, Literal)
    assert largest.value == (1 << 63) - 1
    for text in ("9223372036854775808", "1" * 5000, "1.8e308", "1.0e-310"):
        with pytest.raises(SyntaxError_, match=r"invalid (integer|float)"):
            tree(text)


WORDS = "let in rec or inherit if then else assert with x a.b x.y 1 1.5 .5 ./p <q> ~/h u:v __curPos x: {x}: ="
SIGNS = "{ } ( ) [ ] ; : , . .. ... @ ! ? // ++ + - * / -> && || == != < > <= >= |> <| ${ $ $$ # /* */"
PIECES = st.sampled_from(
    [
        *WORDS.split(),
        *SIGNS.split(),
        *("'", "''", "''$", "'''", '"', "\\", "\n", "\r", "\t", "\0", "\xff", "\x80"),
    ]
)


@given(st.lists(PIECES, max_size=40), st.sampled_from(["", " "]))
def test_only_errors_of_the_language_come_out(pieces: list[str], between: str) -> None:
    text = between.join(pieces)
    try:
        result = tree(text)
    except EvalError as error:
        assert BASE <= error.position <= BASE + len(text) + 1  # noqa: PT017
        return
    assert canonical(tree(source(result))) == canonical(result)


def test_prefixes_of_a_program() -> None:
    """Every beginning of a program, and every program with a character left out, is a tree or an error."""
    text = (
        "x@{ a ? 1, ... }: let b.c = \"q${'' r ${./s/${t}} ''$ ''}\"; inherit (u) v; "
        "in with w; [ 1.5 <y> z.k or l ] ++ (if !m then -n else o)"
    )
    canonical(tree(text))
    for cut in itertools.chain((text[:end] for end in range(len(text))), (text[:at] + text[at + 1 :] for at in range(len(text)))):
        try:
            tree(cut)
        except EvalError as error:
            assert error.detail  # noqa: PT017
