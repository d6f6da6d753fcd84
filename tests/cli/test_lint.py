"""`tvix lint` as a program: what each rule finds and doesn't, and how findings are shown, refused and allowed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tvix.eval.lint.rules import RULES

if TYPE_CHECKING:
    from tests.cli.conftest import Tvix

FOUND = [
    ("unused-binding", "let a = 1; in 2"),
    ("unused-binding", "{ b }: let inherit (b) a; in b"),
    ("unused-binding", "{ a }@whole: a"),
    ("unused-parameter", "a: 1"),
    ("unused-parameter", "{ a, ... }: 1"),
    ("unused-with", "with { a = 1; }; 1"),
    ("unused-with", "a: with { a = 1; }; a"),
    ("shadowed-global", "map: map 1"),
    ("shadowed-global", "let true = 1; in true"),
    ("shadowed-variable", "a: a (a: a)"),
    ("self-reference", "let a = a; in a"),
    ("self-reference", "rec { a = a; }"),
    ("dead-code", "if true then 1 else 2"),
    ("dead-code", "if !true then 1 else 2"),
    ("dead-code", "assert false; 1"),
    ("dead-code", "a: true || a"),
    ("dead-code", "a: false && a"),
    ("dead-code", "a: false -> a"),
    ("useless-boolean-operator", "a: a == true"),
    ("useless-boolean-operator", "a: false != a"),
    ("useless-boolean-operator", "a: true && a"),
    ("useless-boolean-operator", "a: a || false"),
    ("useless-boolean-operator", "a: !(!a)"),
    ("useless-boolean-operator", "a: if a then true else false"),
    ("useless-boolean-operator", "a: assert true; a"),
    ("useless-inherit", "a: let inherit a; in a"),
    ("useless-inherit", "let inherit map; in map 1"),
    ("useless-rec", "rec { a = 1; b = 2; }"),
    ("empty-inherit", "{ inherit; }"),
    ("empty-inherit", "a: { inherit (a); }"),
    ("empty-inherit", "{ a = { inherit; }; a.b = 1; }"),
    ("empty-inherit", "{ a.b = 1; a = { inherit; }; }"),
    ("empty-let", "let in 1"),
    ("empty-pattern", "{ ... }: 1"),
    ("legacy-let", "let { body = 1; }"),
    ("manual-inherit", "a: { a = a; }"),
    ("manual-inherit", "a: { b = a.b; }"),
    ("with-everything", "with builtins; head"),
    ("with-everything", "a: { b }: let c = 1; in with b; d a c"),
    ("url-literal", "[ https://example.org ]"),
    ("hash-padding", '"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"'),
    ("hash-padding", '"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=="'),
    ("shadowed-output", "derivation { out = 1; }"),
    ("shadowed-output", 'derivation { outputs = [ "a" "b" ]; b = 1; }'),
]
FINE = [
    "let _a = 1; in 2",
    "let a = 1; in { inherit a; }",
    "let a = 1; in { ${a} = 1; }",
    "let a = 1; in x: x.${a}",
    "let a = 1; in x: x ? ${a}",
    'let a = "b"; in "${a}"',
    "let a = ./.; in ./${a}",
    "let a = 1; in rec { b = a; c = b; }",
    "let a = 1; in { b ? a }: b",
    "let a = 1; b = { }; in { inherit (b a) c; }",
    "let __sub = a: b: [ a b ]; in 2 - 1",
    "{ a = with { b = 1; }; b; }",
    "let x = 1; in with { a = x; }; if a then with { }; a else a",
    "{ map = 1; }",
    "a: let inherit (a) map; in map 1",
    "with { a = 1; }; let inherit a; in [ a (b: b) ]",
    "a: b: if a then b else false",
    "let inherit (builtins) true; in if true then 1 else 2",
    "a: a == 1 && a != null",
    "a: { inherit a; }",
    "let a = { inherit a; }; in a",
    "[ \"https://example.org\" \"a\" ''b:c'' ]",
    '"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="',
    '"sha256-no"',
    '"${./.}http://a/${./.}b:c"',
    "''a:b ${./.} c:d''",
    "a: let inherit (a) derivation; in derivation { out = 1; }",
    'derivation { outputs = [ "a" ]; out = 1; }',
    "rec { __overrides = { a = 1; }; a = 2; }",
]


@pytest.fixture(scope="module")
def found_rules() -> set[str]:
    return {rule for rule, _ in FOUND}


def test_every_rule_is_tested(found_rules: set[str]) -> None:
    assert found_rules == {rule.identifier for rule in RULES}


def test_what_is_found(tvix: Tvix) -> None:
    """Each by itself: with only its own rule asked, there is one warning."""
    for identifier, program in FOUND:
        others = [word for rule in RULES if rule.identifier != identifier for word in ("--allow", rule.identifier)]
        done = tvix("lint", "--json", "--deny", identifier, *others, "--no-check", "-E", program, status=1)
        (warning,) = done.json["warnings"]
        assert (warning["rule"], warning["level"], warning["file"]) == (identifier, "error", "«string»"), program


def test_what_is_not_found(tvix: Tvix) -> None:
    words = [word for program in FINE for word in ("-E", program)]
    asked = ["--warn", "all", "--allow", "with-everything,unused-parameter,shadowed-variable"]
    done = tvix("lint", *asked, "--no-check", *words)
    assert done.stdout == ""


PROGRAM = """\
# a comment
let
  unused = 1;
  meant = 2; # lint: allow unused-binding
  # lint: allow
  too = 3;
  wrong = 4; # lint: allow dead-code
  "éé" = "é"; other = 5;
in
1
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "a" / "program.nix"
    file.parent.mkdir()
    file.write_text(PROGRAM)
    (tmp_path / "a" / "README.md").write_text("let in\n")
    return file


def test_text(tvix: Tvix, program: Path) -> None:
    expected = f"""\
warning: 'unused' is bound here and never used [unused-binding]
       at {program}:3:3:
           3|   unused = 1;
            |   ^^^^^^
warning: 'wrong' is bound here and never used [unused-binding]
       at {program}:7:3:
           7|   wrong = 4; # lint: allow dead-code
            |   ^^^^^
warning: 'éé' is bound here and never used [unused-binding]
       at {program}:8:3:
           8|   "éé" = "é"; other = 5;
            |   ^^^^
warning: 'other' is bound here and never used [unused-binding]
       at {program}:8:15:
           8|   "éé" = "é"; other = 5;
            |               ^^^^^
"""
    assert tvix("lint", program).stdout == expected
    assert tvix("lint", program.parent).stdout == expected
    assert tvix("lint", "--allow", "unused-binding", program).stdout == ""
    assert tvix("lint", "-", stdin=PROGRAM.encode()).stdout == expected.replace(str(program), "«stdin»")


def test_sarif(tvix: Tvix, program: Path) -> None:
    """Everything that the specification demands of what is there, and what code hosts read."""
    document = tvix("lint", "--sarif", program, "-E", "a b", status=65).json
    assert (document["version"], document["$schema"].endswith("/sarif-schema-2.1.0.json")) == ("2.1.0", True)
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], run["columnKind"]) == ("tvix lint", "unicodeCodePoints")
    assert run["invocations"] == [
        {
            "executionSuccessful": False,
            "toolExecutionNotifications": [{"level": "error", "message": {"text": "undefined variable 'a'"}}],
        }
    ]
    assert all(rule["shortDescription"]["text"] and rule["help"]["text"] for rule in driver["rules"])
    assert all(driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    suppressed = [result["message"]["text"].split("'")[1] for result in run["results"] if "suppressions" in result]
    assert suppressed == ["meant", "too"]
    last = run["results"][-1]["locations"][0]["physicalLocation"]
    assert last["artifactLocation"]["uri"] == str(program)
    assert last["region"] == {
        "startLine": 8,
        "startColumn": 15,
        "endLine": 8,
        "endColumn": 20,
        "byteOffset": PROGRAM.encode().index(b"other"),
        "byteLength": 5,
    }


def test_status(tvix: Tvix) -> None:
    assert tvix("lint", "-E", "let a = 1; in 2").stdout.startswith("warning: ")
    assert tvix("lint", "--deny", "unused-binding", "-E", "let a = 1; in 2", status=1).stdout.startswith("error: ")
    assert tvix("lint", "--deny", "warnings", "-E", "let a = 1; in 2", status=1).stdout.startswith("error: ")
    assert tvix("lint", "--deny", "dead-code", "-E", "let a = 1; in 2").stdout.startswith("warning: ")
    assert "syntax error" in tvix("lint", "-E", "let", status=65).stderr
    assert "undefined variable" in tvix("lint", "-E", "a", status=65).stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "what is to be looked at?"),
        (("--deny", "dead-cod", "."), "there is no rule dead-cod; did you mean dead-code?"),
        (("--allow", "warnings", "."), "there is no rule warnings; --list lists them"),
    ],
)
def test_wrong_words(tvix: Tvix, words: tuple[str, ...], says: str) -> None:
    tvix.fails("lint", *words, status=64, says=says)


def test_deep_programs(tvix: Tvix, tmp_path: Path) -> None:
    file = tmp_path / "deep.nix"
    file.write_text("(" * 40_000 + "let a = 1; in 2" + ")" * 40_000 + " + 1" * 9_000)
    assert "unused-binding" in tvix("lint", file).stdout
    file.write_text("[" * 100_000 + "]" * 100_000)
    assert "nested too deeply" in tvix("lint", file, status=65).stderr


def test_the_list_has_every_rule(tvix: Tvix) -> None:
    assert [line.split()[0] for line in tvix("lint", "--list").lines] == [rule.identifier for rule in RULES]


def test_the_manual_has_every_rule() -> None:
    manual = (Path(__file__).parents[2] / "docs/manual/linting.md").read_text()
    for rule in RULES:
        default = "yes" if rule.by_default else "no"
        assert f"| `{rule.identifier}` | {default} | {rule.code} | {rule.summary} | {rule.advice} |" in manual
