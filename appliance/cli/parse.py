"""`tvix parse`: what the parser makes of a text."""

from __future__ import annotations

from appliance.cli.evaluation import ENVIRONMENT, Evaluation, Wishes, finish, text_of, write
from appliance.cli.light_words import Option, add_to, read, usage_error
from tvix.eval.errors import EvalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence

    from appliance.cli.light_words import Words
    from tvix.eval.syntax import Expression

SUMMARY = "Parse a Nix expression, and print it as source, as a tree, or in Nix's canonical form."

OPTIONS = (
    Option("-E --expr", "EXPR", "parse this expression instead of a file; may be given several times"),
    Option("--canonical", "", "print one line as nix-instantiate --parse does, in which all that a name means is spelt out"),
    Option("--tree", "", "print the tree, an expression a line"),
    Option("--json", "", "print the tree as JSON; errors too, on stderr"),
    Option("--no-check", "", "don't look whether every variable is bound"),
)


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    from appliance.cli.options import describe

    describe(
        parser,
        "tvix parse ./default.nix",
        "tvix parse --canonical -E 'a: a.b or 1'",
        "tvix parse --json - < default.nix",
        text="What is printed parses back to the same tree; comments aren't part of it. FILE may be - for stdin.",
        exits=(65,),
    )
    add_to(parser, OPTIONS)
    parser.add_argument("file", nargs="*", metavar="FILE", help="the files to parse")


def run_words(command: str, words: Sequence[str]) -> int:
    """Parse what the words say, and end the process."""
    given = read(words, OPTIONS, command)
    shapes = [name for name in ("--canonical", "--tree", "--json") if given.has(name)]
    if len(shapes) > 1:
        raise usage_error(command, f"{shapes[0]} and {shapes[1]} can't both be had")
    if not given.rest and not given.has("--expr"):
        raise usage_error(command, "what is to be parsed? A FILE, -E EXPR, or - for stdin")
    return finish(lambda: _parse(given, shapes[0] if shapes else ""))


def _parse(given: Words, shape: str) -> int:
    evaluation = Evaluation(Wishes())
    evaluator = evaluation.evaluator
    programs = [("expression", text_of(text)) for (text,) in given.all("--expr")]
    programs += [("stdin", "") if path == "-" else ("file", text_of(path)) for path in given.rest]
    with evaluator.session():
        try:
            for kind, text in programs:
                tree, base = evaluation.tree(kind, text, check=not given.has("--no-check"))
                write(1, _rendered(tree, base, shape))
        except EvalError as error:
            evaluation.report(error, as_json=shape == "--json")
            return error.exit_code
    return 0


def _rendered(tree: Expression, base: str, shape: str) -> str:
    if shape == "--json":
        from tvix.eval.tree_json import tree_json

        return tree_json(tree) + "\n"
    if shape == "--canonical":
        from tvix.eval.printer import canonical

        return canonical(tree, base, ENVIRONMENT.get("HOME", "")) + "\n"
    if shape == "--tree":
        import json

        from tvix.eval.tree_json import tree_json

        lines: list[str] = []
        _add_lines("", json.loads(tree_json(tree)), "", lines)
        return "\n".join(lines) + "\n"
    from tvix.eval.source_printer import source

    return source(tree)


def _add_lines(label: str, value: object, indent: str, lines: list[str]) -> None:
    """A line for an expression or for what it is made of, and deeper ones for their parts."""
    before = f"{indent}{label}: " if label else indent
    if isinstance(value, dict):
        parts = dict(value)
        position = parts.pop("position", None)
        where = "" if position is None else f" @{position}"
        lines.append(before.rstrip() if "type" not in parts else f"{before}{parts.pop('type')}{where}")
        for name, part in parts.items():
            _add_lines(name, part, indent + "  ", lines)
    elif isinstance(value, list) and value:
        lines.append(before.rstrip())
        for part in value:
            _add_lines("-", part, indent + "  ", lines)
    else:
        lines.append(f"{before}{value!r}")
