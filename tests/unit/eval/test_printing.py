"""Values as `nix-instantiate`, `nix eval` and the repl of Nix 2.26 print them, and as errors quote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tvix.eval.deep import force_deeply
from tvix.eval.errors import EvalError
from tvix.eval.evaluator import Evaluator
from tvix.eval.io import NoIO
from tvix.eval.nearest import nearest
from tvix.eval.printing import UNLIMITED, print_evaluated, print_for_error, print_for_repl, print_value
from tvix.eval.stack import on_deep_stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvix.eval.values import Value

_LIST = "[ 1 2 3 4 5 6 7 8 9 10 11 12 ]"
_LONG = 'builtins.concatStringsSep "" (builtins.genList (x: "a") 1100)'


def printed(program: str, show: Callable[[Value], str], *, strict: bool = True) -> str:
    evaluator = Evaluator(NoIO())

    def evaluate() -> str:
        with evaluator.session():
            value = evaluator.string(program.encode().decode("latin-1"), "/")
            return show(force_deeply(value) if strict else value)

    return on_deep_stack(evaluate).encode("latin-1").decode()


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("[ 1.5 1.0e10 1.0 1.0e300 0.1 123456789.5 1.0e-5 ]", "[ 1.5 1e+10 1 1e+300 0.1 1.23457e+08 1e-05 ]"),
        ("let i = 1.0e308 * 10; in [ i (0 - i) (i - i) ]", "[ inf -inf -nan ]"),
        ("[ (x: x) ({ a }: a) builtins.map (builtins.map 1) ]", "[ <LAMBDA> <LAMBDA> <PRIMOP> <PRIMOP-APP> ]"),
        ('"a\\${b\\"\\n\\t\\r\\\\$$\\${ é"', '"a\\${b\\"\\n\\t\\r\\\\$$\\${ é"'),
        (
            '{ "a b" = 1; or = 2; "if" = 3; "" = 4; a-b = 5; "1" = 6; }',
            '{ "" = 4; "1" = 6; "a b" = 1; a-b = 5; "if" = 3; or = 2; }',
        ),
        ("let x = { a = 1; }; y = [ 1 2 3 ]; in [ x x y y { } { } [ ] [ ] ]", None),
        ("let x = { y = x; }; in x", "{ y = «repeated»; }"),
        ("[ null true ./a ]", "[ null true /a ]"),
    ],
)
def test_nix_instantiate(program: str, expected: str | None) -> None:
    repeated = "[ { a = 1; } «repeated» [ 1 2 3 ] «repeated» { } { } [ ] [ ] ]"
    assert printed(program, print_value) == (expected or repeated)


def test_what_is_put_off_is_code() -> None:
    assert printed("{ a = 1 + 1; b = x: x; c = { }.x; d = 1; }", print_value, strict=False) == (
        "{ a = <CODE>; b = <CODE>; c = <CODE>; d = 1; }"
    )


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (_LIST, "[ 1 2 3 4 5 6 7 8 9 10 «2 items elided» ]"),
        ("[ [ 1 2 3 4 5 ] [ 6 7 8 9 10 ] [ 11 ] 3 ]", "[ [ 1 2 3 4 5 ] [ 6 7 8 9 «1 item elided» ] «2 items elided» ]"),
        ("[" * 12 + "]" * 12, "[ " * 10 + "[ ... ]" + " ]" * 10),
        ("{ type = 1; _type = 2; aa = 1; }", "{ _type = 2; type = 1; aa = 1; }"),
        ("[ (x: x) (let f = x: y: x; in f 1) builtins.map (builtins.map 1) ]", None),
        (_LONG, '"' + "a" * 1024 + '" «76 bytes elided»'),
        ('{ a = "é"; "${"é"}" = 1; }', '{ a = "é"; "é" = 1; }'),
    ],
)
def test_errors(program: str, expected: str | None) -> None:
    functions = "[ «lambda @ «string»:1:4» «lambda f @ «string»:1:22» «primop map» «partially applied primop map» ]"
    assert printed(program, print_for_error) == (expected or functions)


@pytest.mark.parametrize(
    ("program", "at_once", "whole"),
    [
        ("{ a = 1; }", "{ a = 1; }", "{ a = 1; }"),
        ("{ a = { }; }", "{\n  a = { ... };\n}", "{\n  a = { };\n}"),
        ("[ [ 1 ] ]", "[\n  [ ... ]\n]", "[\n  [ 1 ]\n]"),
        (
            "{ a = 1; b = [ 1 2 { c = 1; } ]; }",
            "{\n  a = 1;\n  b = [ ... ];\n}",
            "{\n  a = 1;\n  b = [\n    1\n    2\n    { c = 1; }\n  ];\n}",
        ),
        ('{ a = throw "no"; b = 1; }', "{\n  a = «error: no»;\n  b = 1;\n}", "{\n  a = «error: no»;\n  b = 1;\n}"),
        ('[ { type = "derivation"; drvPath = 1; } ]', None, None),
    ],
)
def test_the_repl(program: str, at_once: str | None, whole: str | None) -> None:
    refused = "[\n  «error: cannot coerce an integer to a string: 1»\n]"
    assert printed(program, print_for_repl, strict=False) == (at_once or refused)
    assert printed(program, lambda value: print_for_repl(value, UNLIMITED), strict=False) == (whole or refused)


def test_nix_eval_shows_what_the_repl_raises() -> None:
    assert printed('{ type = throw "no"; }', print_evaluated, strict=False) == "«error: no»"
    with pytest.raises(EvalError, match="no"):
        printed('{ type = throw "no"; }', print_for_repl, strict=False)


def test_the_nearest_names() -> None:
    assert nearest("a", ["b", "bb", "aab", "a1", "a b", "abcd"]) == ("a1", "b", "a b", "aab", "bb")
    assert nearest("a", ["aa", "ab", "ac", "ad", "ae", "af"]) == ("aa", "ab", "ac", "ad", "ae")
    assert nearest("FooBar", ["foobar"]) == ("foobar",)
    assert nearest("ba", ["ab"]) == ("ab",)
    assert nearest("abcdef", ["abc", "xbcdxf", "abcdefgh", "bcdefa", "fedcba"]) == ("abcdefgh", "bcdefa", "xbcdxf")
    assert not nearest("", ["abc"])
    assert nearest("", ["ab", ""]) == ("", "ab")
