"""`tvix lint`: what programs say that they needn't, or can't mean."""

from __future__ import annotations

import os

from appliance.cli.evaluation import Evaluation, Wishes, finish, printable, text_of, write
from appliance.cli.light_words import Option, add_to, read, usage_error
from tvix.eval.errors import EvalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator, Sequence
    from typing import Any

    from appliance.cli.light_words import Words
    from tvix.eval.lint.frames import Lines
    from tvix.eval.lint.rule import Finding, Rule

SUMMARY = "Warn of what Nix expressions say in vain: unused bindings, shadowing, dead code and the like."

OPTIONS = (
    Option("-E --expr", "EXPR", "look at this expression instead of a file; may be given several times"),
    Option("--warn", "RULE", "ask a rule that isn't asked by default; `all` is all of them"),
    Option("--deny", "RULE", "ask a rule, and end with 1 where it finds something; `warnings` is whatever is asked"),
    Option("--allow", "RULE", "don't ask a rule; what is allowed wins over what is denied, and that over what is warned of"),
    Option("--json", "", "print one JSON document; errors too, on stderr"),
    Option("--sarif", "", "print one SARIF 2.1.0 document"),
    Option("--no-check", "", "don't look whether every variable is bound"),
    Option("--list", "", "list the rules"),
)
EX_DENIED = 1


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    from appliance.cli.options import describe

    describe(
        parser,
        "tvix lint .",
        "tvix lint --deny warnings --allow with-everything ./default.nix",
        "tvix lint --sarif . > lint.sarif",
        text="FILE may be a directory, of which every .nix file is looked at, or - for stdin. A comment `# lint: allow RULE` on\n"
        "the line of a warning, or alone on the line before, says that it is meant to be so. Without --deny, nothing fails.",
        exits=(1, 65),
    )
    add_to(parser, OPTIONS)
    parser.add_argument("file", nargs="*", metavar="FILE", help="the files to look at")


def run_words(command: str, words: Sequence[str]) -> int:
    """Look at what the words say, and end the process."""
    given = read(words, OPTIONS, command)
    if given.has("--json") and given.has("--sarif"):
        raise usage_error(command, "--json and --sarif can't both be had")
    asked, denied = _chosen(given, command)
    if given.has("--list"):
        return _list(asked)
    if not given.rest and not given.has("--expr"):
        raise usage_error(command, "what is to be looked at? A FILE, a directory, -E EXPR, or - for stdin")
    return finish(lambda: Linting(given, asked, denied).run())


def _chosen(given: Words, command: str) -> tuple[list[type[Rule]], set[str]]:
    """The rules that are asked, and the identifiers of those that fail."""
    from tvix.eval.lint.rules import BY_IDENTIFIER, RULES

    named: dict[str, set[str]] = {}
    for option, every in (("--warn", "all"), ("--deny", "warnings"), ("--allow", "")):
        named[option] = {name for (text,) in given.all(option) for name in text.split(",")}
        for name in named[option] - {every} - set(BY_IDENTIFIER):
            raise usage_error(command, f"there is no rule {name}{_near(name, BY_IDENTIFIER)}")
    extra = named["--warn"] | named["--deny"]
    wanted = [rule for rule in RULES if rule.by_default or "all" in named["--warn"] or rule.identifier in extra]
    asked = [rule for rule in wanted if rule.identifier not in named["--allow"]]
    if "warnings" in named["--deny"]:
        return asked, {rule.identifier for rule in asked}
    return asked, named["--deny"]


def _near(name: str, names: dict[str, Any]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else "; --list lists them"


def _list(asked: list[type[Rule]]) -> int:
    from tvix.eval.lint.rules import RULES

    width = max(len(rule.identifier) for rule in RULES)
    for rule in RULES:
        mark = "warn " if rule in asked else "allow"
        write(1, f"{rule.identifier:{width}}  {mark}  {rule.code:4}  {rule.summary}\n")
    return 0


class Linting:
    """One run: what was found, and how it is said."""

    def __init__(self, given: Words, asked: list[type[Rule]], denied: set[str]) -> None:
        self._given = given
        self._asked = asked
        self._denied = denied
        self._shape = "--sarif" if given.has("--sarif") else "--json" if given.has("--json") else ""
        self._evaluation = Evaluation(Wishes())
        self._results: list[Any] = []
        self._problems: list[str] = []
        self._status = 0
        self._color = os.isatty(1) and self._evaluation.color

    def run(self) -> int:
        """Look at everything; the answer is the exit status."""
        with self._evaluation.evaluator.session():
            for (text,) in self._given.all("--expr"):
                self._look("expression", text_of(text))
            for path in self._given.rest:
                for kind, text in _programs(path):
                    self._look(kind, text)
        self._print()
        return self._status

    def _look(self, kind: str, text: str) -> None:
        from tvix.eval.lint.check import check
        from tvix.eval.lint.frames import Lines

        evaluation, evaluator = self._evaluation, self._evaluation.evaluator
        try:
            source, text = evaluation.source_of(kind, text)
            tree = evaluator.tree(source, text, check=not self._given.has("--no-check"))
        except EvalError as error:
            self._failed(error)
            return
        name, lines = printable(source.shown), Lines(text)
        for finding in check(tree, text, self._asked, evaluator.registry.globals):
            denied = finding.rule.identifier in self._denied and not finding.allowed_in_source
            if denied and not self._status:
                self._status = EX_DENIED
            self._say(finding, lines, name, "error" if denied else "warning")

    def _failed(self, error: EvalError) -> None:
        self._status = error.exit_code
        self._problems.append(error.detail.encode("latin-1").decode(errors="replace"))
        self._evaluation.report(error, as_json=self._shape == "--json")

    def _say(self, finding: Finding, lines: Lines, name: str, level: str) -> None:
        if self._shape == "--sarif":
            from urllib.parse import quote

            from tvix.eval.lint.sarif import result

            uri = quote(name.strip("«»"), errors="surrogateescape")
            self._results.append(result(finding, lines, uri, self._asked, level))
        elif finding.allowed_in_source:
            return
        elif self._shape == "--json":
            self._results.append(_json(finding, lines, name, level))
        else:
            from tvix.eval.lint.frames import frame

            text = frame(finding, lines, name, level, color=self._color)
            write(1, text.encode(errors="surrogateescape").decode("latin-1"))

    def _print(self) -> None:
        if not self._shape:
            return
        import json

        from tvix import VERSION

        whole: dict[str, Any] = {"warnings": self._results}
        if self._shape == "--sarif":
            from tvix.eval.lint.sarif import document

            whole = document(VERSION, self._asked, self._results, self._problems)
        write(1, json.dumps(whole, indent=2) + "\n")


def _programs(path: str) -> Iterator[tuple[str, str]]:
    """What a word of the command line means: a file, stdin, or all files of a directory, in the order of their names."""
    if path == "-":
        yield "stdin", ""
    elif not os.path.isdir(path):
        yield "file", text_of(path)
    else:
        for directory, names, files in os.walk(path):
            names[:] = sorted(name for name in names if not name.startswith("."))
            for name in sorted(files):
                if name.endswith(".nix"):
                    yield "file", text_of(os.path.join(directory, name))


def _json(finding: Finding, lines: Lines, name: str, level: str) -> dict[str, Any]:
    line, column = lines.place(finding.offset)
    end_line, end_column = lines.place(finding.offset + finding.length)
    return {
        "rule": finding.rule.identifier,
        "code": finding.rule.code or None,
        "level": level,
        "message": finding.message,
        "advice": finding.rule.advice,
        "file": name,
        "line": line,
        "column": column,
        "endLine": end_line,
        "endColumn": end_column,
        "byteOffset": finding.offset,
        "byteLength": finding.length,
    }
