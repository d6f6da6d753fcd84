"""`tvix store import-nar`: a NAR becomes a store path."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from appliance.cli.options import add_json, add_progress, add_store, describe, open_store_of, print_json, progress

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Store the tree of a NAR, and print the store path it got."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "nix-store --dump ./result | tvix store import-nar --name result -",
        "tvix store import-nar --name hello hello.nar",
        text="The archive must be the one canonical NAR of its tree; anything else is refused, and the place is named.",
        exits=(65, 66, 69, 77),
    )
    parser.add_argument("nar", nargs="?", default="-", metavar="NAR", help="the archive, uncompressed; - (the default) is stdin")
    parser.add_argument("--name", required=True, help="the name of the store path")
    add_store(parser)
    add_json(parser)
    add_progress(parser)


def run(arguments: Namespace) -> int:
    """Import it."""
    from appliance.cli.store.imported import imported_object
    from tvix.nix_compat.store_path import check_store_path_name
    from tvix.store.importing import import_nar

    check_store_path_name(arguments.name)
    nar = sys.stdin.buffer if arguments.nar == "-" else open(arguments.nar, "rb")  # noqa: SIM115 (closed by the next line)
    with nar, progress(arguments) as emit, open_store_of(arguments) as store:
        info = import_nar(store, nar.read, arguments.name, emit=emit)
    if arguments.json:
        print_json([imported_object(info)])
    else:
        print(info.path)
    return 0
