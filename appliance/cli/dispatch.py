"""From words to a verb: finds its module, parses its options, runs it, and turns whatever goes wrong into one line and a code."""

from __future__ import annotations

import os
import sys

from appliance.__main__ import VERBS
from appliance.cli.failure import NotInThisBuild, report
from tvix.errors import EX_USAGE, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from types import ModuleType

_USAGE = """usage: tvix VERB [OPTION…] [ARGUMENT…]
       tvix VERB --help
       tvix --version

A content-addressed Nix store that is served, mounted lazily, and booted from.

verbs:
"""
_EXAMPLE = """
example:
  tvix store import ./result
  tvix store serve --listen 127.0.0.1:8000
  tvix --help store import
"""
_HELP = ("--help", "-h", "help")


class UnknownVerb(TvixError):
    """A word that is no verb of the program or of one of its groups."""

    identifier = "cli.unknown-verb"
    message = "there is no {command}{suggestion}"
    hint = "--help in its place lists the verbs"
    exit_code = EX_USAGE


class MissingVerb(TvixError):
    """The command line ends before it says what to do."""

    identifier = "cli.missing-verb"
    message = "{group}: what is to be done? One of {verbs}"
    exit_code = EX_USAGE


def dispatch(words: list[str]) -> int:
    """Run what `words` (without the program's name) ask for; the answer is the exit status. Raises nothing."""
    arguments: Namespace | None = None
    _prepare_output()
    try:
        module, name, rest = _find(words)
        if module is None:
            print(_group_help(name), end="", flush=True)
            return 0
        if hasattr(module, "run_words") and not _asks_for_help(rest):
            status: int = module.run_words(name, rest)
            return status
        from appliance.cli.options import make_parser

        parser = make_parser(name, module)
        arguments = parser.parse_args(rest)
        status = module.run(arguments)
        sys.stdout.flush()
    except BaseException as error:
        as_json = getattr(arguments, "json", False) if arguments else "--json" in words
        return report(error, words, as_json=bool(as_json))
    return status


def _prepare_output() -> None:
    """File names are bytes: those that aren't UTF-8 leave as they came. Where stdout is closed, what is printed goes nowhere."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape" if stream.encoding.lower() == "utf-8" else "backslashreplace")
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (it lives as long as the process)


def _asks_for_help(words: list[str]) -> bool:
    options = words[: words.index("--")] if "--" in words else words
    return "--help" in options or "-h" in options


def _find(words: list[str]) -> tuple[ModuleType | None, str, list[str]]:
    """(module, full name of the verb, remaining words); no module where a list of verbs is asked for."""
    asks_help = bool(words) and words[0] in _HELP
    words = words[1:] if asks_help else words
    group, verbs = "tvix", VERBS
    while True:
        if not words:
            if asks_help:
                return None, group, []
            raise MissingVerb(group=group, verbs=", ".join(verbs))
        word, words = words[0], words[1:]
        if word in _HELP:
            return None, group, []
        if word not in verbs:
            raise _unknown(word, group, list(verbs))
        group = f"{group} {word}"
        module = load_verb(verbs[word], group)
        if not hasattr(module, "VERBS"):
            return module, group, ["--help"] if asks_help else words
        verbs = module.VERBS


def load_verb(module: str, name: str) -> ModuleType:
    """Import a verb's module. Raises `NotInThisBuild` where a frozen tree was made without it."""
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise NotInThisBuild(what=f"`{name}`") from None
        raise


def _unknown(word: str, group: str, verbs: list[str]) -> UnknownVerb:
    from difflib import get_close_matches

    near = get_close_matches(word, verbs, n=1, cutoff=0.5)
    return UnknownVerb(command=f"`{group} {word}`", suggestion=f"; did you mean `{group} {near[0]}`?" if near else "")


def _group_help(group: str) -> str:
    """The list of verbs, with the summaries of those that this build has."""
    if group == "tvix":
        return _USAGE + "".join(_summaries("tvix", VERBS)) + _EXAMPLE
    module = load_verb(VERBS[group.split()[1]], group)
    lines = "".join(_summaries(group, module.VERBS))
    return f"usage: {group} VERB [OPTION…] [ARGUMENT…]\n\n{module.SUMMARY}\n\nverbs:\n{lines}\nexample:\n  {module.EXAMPLE}\n"


def _summaries(group: str, verbs: dict[str, str]) -> list[str]:
    lines = []
    width = max(map(len, verbs))
    for verb, module in verbs.items():
        try:
            summary = load_verb(module, f"{group} {verb}").SUMMARY
        except NotInThisBuild:
            summary = "(not in this build)"
        lines.append(f"  {verb:{width}}  {summary}\n")
    return lines
