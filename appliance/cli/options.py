"""What the verbs share: the parser, `--store`, `--json`, `--progress`, and the form of their help.

A verb is a module with `SUMMARY`, `configure(parser)` and `run(arguments)`. `configure` calls `describe` and those `add_` functions
that it wants; `run` raises a `TvixError` where something is wrong and prints answers, never errors.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from appliance.cli.places import NEAR_MAX, credentials_directory, default_near, default_store
from tvix.errors import EX_NOINPUT, EX_USAGE, TvixError
from tvix.events import silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from tvix.events import Emit
    from tvix.store.store import Store

EXIT_CODES = {
    0: "done",
    1: "what is denied was found",
    64: "the command line is wrong",
    65: "the data is wrong: it doesn't parse, or isn't what its name promises",
    66: "something named is not there",
    69: "a store or a service can't be reached",
    70: "a bug in tvix",
    74: "the operating system refused to read or write",
    75: "not now; the same command may work later",
    77: "refused: not allowed, or against what the store already holds",
}
"""What the codes mean, for every verb."""

PREFETCH = ("auto", "hot", "demand", "none")
PROGRESS = ("auto", "bars", "plain", "json", "quiet")


class UsageError(TvixError):
    """A command line that a verb doesn't understand."""

    identifier = "cli.usage"
    message = "{command}: {reason}"
    hint = "add --help to see what it takes"
    exit_code = EX_USAGE


class NoStore(TvixError):
    """A store that is to be read, at a place where none was made."""

    identifier = "cli.no-store"
    message = "there is no store at {path}"
    hint = "`tvix store import` makes one; --store or $TVIX_STORE names another"
    exit_code = EX_NOINPUT


class Parser(ArgumentParser):
    """Raises `UsageError` instead of printing and leaving; long options are not guessed from their beginnings."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog=prog, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """What argparse calls when it is stuck."""
        raise UsageError(command=self.prog, reason=message)


def make_parser(name: str, module: ModuleType) -> Parser:
    """The parser of a verb, configured by its module."""
    parser = Parser(name)
    parser.description = module.SUMMARY
    module.configure(parser)
    return parser


def describe(parser: ArgumentParser, *examples: str, text: str = "", exits: tuple[int, ...] = ()) -> None:
    """Say more in `--help`: `text` below the summary, the examples, and the exit codes besides 0, 64, 70 and 74."""
    if text:
        parser.description = f"{parser.description}\n\n{text}"
    codes = sorted({0, 64, 70, 74, *exits})
    parser.epilog = "\n".join(
        ["example:", *(f"  {line}" for line in examples), "", "exit codes:", *(f"  {code:<4}{EXIT_CODES[code]}" for code in codes)]
    )


def add_store(parser: ArgumentParser) -> None:
    """`--store URL`; `store_url` says which store is meant."""
    parser.add_argument(
        "--store",
        metavar="URL",
        help="pack:/path, tvix+unix:/path, tvix+tls://HOST:PORT, grpc+http://HOST:PORT, memory:, cache:?near=URL&far=URL…; "
        "default: $TVIX_STORE, else a pack store in the user's data directory",
    )


def add_near(parser: ArgumentParser) -> None:
    """`--near` and `--prefetch`; `near_of` says what they mean."""
    parser.add_argument(
        "--near",
        metavar="URL",
        help="where what comes from a server is kept: a store address, or none for a little memory alone; "
        f"default: a pack store in the user's cache directory, {NEAR_MAX}B of it at most",
    )
    parser.add_argument(
        "--prefetch",
        choices=PREFETCH,
        default=PREFETCH[0],
        help="what a server is asked for besides: what was read the last time, else all, or what lies next to what is read (auto); "
        "not all (hot); only what lies next (demand); nothing (none)",
    )


def near_of(arguments: Namespace) -> dict[str, str | bool | None]:
    """The fields of a `MountSpec` that `add_near` is about."""
    fields: dict[str, str | bool | None] = {"prefetch": arguments.prefetch}
    if arguments.near is None:
        return {**fields, "near": default_near(), "near_max": NEAR_MAX}
    if arguments.near == "none":
        return fields
    return {**fields, "near": arguments.near, "near_is_required": True}


def warn(line: str) -> None:
    """Tell a person something that is no error."""
    print(f"tvix: warning: {line}", file=sys.stderr)


def add_json(parser: ArgumentParser) -> None:
    """`--json`: the answer on stdout, and an error on stderr, as JSON whose shape only grows."""
    parser.add_argument("--json", action="store_true", help="answer in JSON; errors too, on stderr")


def add_progress(parser: ArgumentParser) -> None:
    """`--progress`; `progress` makes the callable that events go to."""
    parser.add_argument(
        "--progress",
        choices=PROGRESS,
        default="auto",
        help="on stderr: bars on a terminal, plain lines elsewhere, none of those with --json (auto); JSON lines; nothing (quiet)",
    )


def store_url(arguments: Namespace) -> str:
    """The address of the store that is meant, with the user's credentials where it wants some and names none."""
    return own_credentials(arguments.store or default_store())


def own_credentials(url: str) -> str:
    """A store's address, with the user's credentials where it wants some and names none."""
    from tvix.castore.default_credentials import with_credentials

    directory = credentials_directory()
    return with_credentials(url, directory) if directory else url


def open_store_of(arguments: Namespace) -> Store:
    """Open the store that is meant; a pack store's directory is made where it doesn't exist. Raises what opening it raises."""
    return _open(store_url(arguments))


def existing_store_url(arguments: Namespace) -> str:
    """The same for a verb that only reads: a store on disk must be there, since opening it would make it. Raises `NoStore`."""
    from tvix.castore.addresses import parse_address

    url = store_url(arguments)
    if url.startswith("pack:"):
        path = parse_address(url).path
        if not os.path.lexists(path):
            raise NoStore(path=path)
    return url


def open_existing_store(arguments: Namespace) -> Store:
    """Open the store that is meant, for a verb that only reads."""
    return _open(existing_store_url(arguments))


def _open(url: str) -> Store:
    from appliance import grpc_log
    from tvix.store.addresses import open_store

    grpc_log.silence()
    return open_store(url)


@contextmanager
def progress(arguments: Namespace) -> Iterator[Emit]:
    """Where events go while a verb runs."""
    try:
        from appliance.ui.choose import renderer
    except ModuleNotFoundError:  # a tree that was frozen without it
        yield silent
        return
    mode = arguments.progress
    if mode == "auto" and getattr(arguments, "json", False) and not (sys.stderr and sys.stderr.isatty()):
        mode = "quiet"  # so that stderr holds one JSON document at most, an error
    with renderer(mode) as emit:
        yield emit


def print_json(answer: object) -> None:
    """One JSON document and a newline on stdout. File names that aren't UTF-8 come as lone surrogates, `\\udcXX` for byte XX."""
    json.dump(answer, sys.stdout)
    print(flush=True)
