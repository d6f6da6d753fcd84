"""`tvix store import`: directories, files and symlinks become store paths."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from appliance.cli.options import (
    UsageError,
    add_json,
    add_progress,
    add_store,
    describe,
    open_store_of,
    print_json,
    progress,
)

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Store directories and files, and print the store paths they got."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix store import ./result",
        "tvix store import --name hello-2.10 /tmp/build",
        text="The store path is the one that `nix-store --add` gives: it follows from the contents and the name.\n"
        "A path is printed when its contents are durable, a line each. Where one PATH fails, those before it are stored.",
        exits=(65, 66, 69, 75, 77),
    )
    parser.add_argument("path", nargs="+", metavar="PATH", help="a directory, a file or a symlink (which is not followed)")
    parser.add_argument("--name", help="the name of the store path, with one PATH only; default: the last component of PATH")
    add_store(parser)
    add_json(parser)
    add_progress(parser)


def run(arguments: Namespace) -> int:
    """Import one path after the other; a second process hashes NARs meanwhile."""
    from appliance.cli.store.imported import imported_object
    from tvix.store.importing import import_path
    from tvix.store.nar_hash_process import NarHashProcess

    if arguments.name is not None and len(arguments.path) > 1:
        raise UsageError(command="tvix store import", reason="--name goes with one PATH only")
    answers = []
    with ExitStack() as stack:
        hasher = stack.enter_context(NarHashProcess())  # forks, so before anything is opened or rendered
        emit = stack.enter_context(progress(arguments))
        store = stack.enter_context(open_store_of(arguments))
        for path in arguments.path:
            info = import_path(store, path, arguments.name, hasher=hasher, emit=emit)
            answers.append(imported_object(info))
            if not arguments.json:
                print(info.path, flush=True)
    if arguments.json:
        print_json(answers)
    return 0
