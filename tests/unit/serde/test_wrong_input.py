"""What is said about wrong input, word for word, and where."""

from __future__ import annotations

import pickle

import pytest

from tests.unit.serde.record import cases, said_about
from tests.unit.serde.schema import Everything
from tvix.serde import SchemaMismatch, load

CASES = cases()


@pytest.mark.parametrize(("text", "said"), CASES, ids=[text for text, _ in CASES])
def test_what_is_said(text: str, said: str) -> None:
    """`python tests/unit/serde/record.py` writes it anew."""
    assert said_about(text) == said


def test_there_are_cases() -> None:
    assert len(CASES) > 40
    assert all(said and said != "nothing is wrong" for _, said in CASES)


def test_spans() -> None:
    text = "{\n  server = {\n    host = ''\n      a\n    '';\n    port = [\n      1\n    ];\n  };\n}"
    with pytest.raises(SchemaMismatch) as caught:
        load(text, Everything, name="c.nix")
    (problem,) = caught.value.problems
    assert (problem.kind, problem.path, problem.expected) == ("wrong-type", "server.port", "an integer")
    assert (problem.file, problem.line, problem.column, problem.end_line, problem.end_column) == ("c.nix", 6, 12, 8, 6)
    assert problem.documentation == "where it listens"


def test_errors_survive_pickling() -> None:
    with pytest.raises(SchemaMismatch) as caught:
        load("{ count = true; mood = 1; }", Everything)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.report() == caught.value.report()


def test_the_error_says_what_every_error_says() -> None:
    with pytest.raises(SchemaMismatch) as caught:
        load("{ count = true; }", Everything)
    assert (caught.value.identifier, caught.value.exit_code) == ("serde.mismatch", 65)
    assert caught.value.hint


def test_what_a_builtin_made_is_placed_where_it_is_held() -> None:
    text = "{ by-name = builtins.mapAttrs (name: port: { host = name; inherit port; }) { a = 1; b = null; }; }"
    with pytest.raises(SchemaMismatch) as caught:
        load(text, Everything)
    assert [(problem.path, text[problem.column - 1 : problem.end_column - 1]) for problem in caught.value.problems] == [
        ("by-name.b.port", "port")
    ]
    text = '{ by-name = builtins.fromJSON "{\\"a\\": {\\"host\\": 1}}"; }'
    with pytest.raises(SchemaMismatch) as caught:
        load(text, Everything)
    problem = caught.value.problems[0]
    assert problem.path == "by-name.a.host"
    assert text[problem.column - 1 : problem.end_column - 1].startswith("builtins.fromJSON")
