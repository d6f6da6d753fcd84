"""`tvix store import-closure`: the closure of a real Nix store, with references, signatures and all."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from appliance.cli.options import add_json, add_progress, add_store, describe, open_store_of, print_json, progress

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Store the closure that `nix path-info -r --json` tells of, out of a Nix store's directory."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "nix path-info -r --json /nix/store/…-hello >INFO.json",
        "tvix store import-closure --nix-store /nix/store INFO.json",
        text="DIR holds the store paths as HASH-NAME entries; INFO.json is what Nix 2.8 or 2.26 prints. Contents are held against\n"
        "what it says. All of its paths are stored, or none; what is there already is skipped. The paths are printed,\n"
        "a line each, what is referred to before what refers to it.",
        exits=(65, 66, 69, 75, 77),
    )
    parser.add_argument("info", metavar="INFO.json", help="what `nix path-info -r --json` printed")
    parser.add_argument("--nix-store", required=True, metavar="DIR", help="the directory with the HASH-NAME entries")
    add_store(parser)
    add_json(parser)
    add_progress(parser)


def run(arguments: Namespace) -> int:
    """Import it; a second process hashes NARs meanwhile."""
    from appliance.cli.store.imported import imported_object
    from tvix.store.importing import import_closure
    from tvix.store.nar_hash_process import NarHashProcess

    with ExitStack() as stack:
        hasher = stack.enter_context(NarHashProcess())  # forks, so before anything is opened or rendered
        emit = stack.enter_context(progress(arguments))
        store = stack.enter_context(open_store_of(arguments))
        infos = import_closure(store, arguments.nix_store, arguments.info, hasher=hasher, emit=emit)
    if arguments.json:
        print_json([imported_object(info) for info in infos])
    else:
        print(*(info.path for info in infos), sep="\n")
    return 0
