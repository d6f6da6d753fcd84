"""`tvix store export`: out of a store, as a directory tree or a NAR."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from appliance.cli.options import (
    UsageError,
    add_json,
    add_progress,
    add_store,
    describe,
    open_existing_store,
    print_json,
    progress,
)

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import BinaryIO

    from appliance.cli.store.paths import Place
    from tvix.events import Emit
    from tvix.store.store import Store

SUMMARY = "Write a store path, or something in it, as a directory tree or as a NAR."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix store export /nix/store/…-hello-2.10 ./hello",
        "tvix store export --nar - /nix/store/…-hello-2.10 | nix-store --restore ./hello",
        text="What is written appears under its name when it is complete; nothing that exists is replaced.",
        exits=(65, 66, 69, 77),
    )
    parser.add_argument("path", metavar="STORE_PATH[/…]", help="what to write")
    parser.add_argument("destination", nargs="?", metavar="DEST", help="where; must not exist")
    parser.add_argument("--nar", metavar="FILE", help="write a NAR to FILE instead; - is stdout")
    add_store(parser)
    add_json(parser)
    add_progress(parser)


def run(arguments: Namespace) -> int:
    """Write it."""
    from appliance.cli.store.paths import find

    if (arguments.nar is None) == (arguments.destination is None):
        raise UsageError(command="tvix store export", reason="give either DEST or --nar FILE")
    with progress(arguments) as emit, open_existing_store(arguments) as store:
        place = find(store, arguments.path)
        if arguments.nar is None:
            from tvix.castore.export import export_tree

            export_tree(store.blobs, store.directories, place.node, arguments.destination, emit)
        elif arguments.nar == "-":
            _write_nar(store, place, sys.stdout.buffer, emit)
            return 0
        else:
            from appliance.cli.new_file import new_file

            with new_file(arguments.nar) as file:
                _write_nar(store, place, file, emit)
    if arguments.json:
        print_json({"path": str(place), "destination": arguments.destination or arguments.nar})
    return 0


def _write_nar(store: Store, place: Place, file: BinaryIO, emit: Emit) -> None:
    """Of a whole store path the NAR is compared with what the path info says; of something in it nothing is known to compare."""
    from tvix.events import Operation
    from tvix.store.exporting import export_nar
    from tvix.store.nar import render_nar

    if not place.components:
        export_nar(store, place.path, file.write, emit)
    else:
        with Operation(emit, "export", unit="bytes", path=str(place)) as operation:
            for piece in render_nar(place.node, store.blobs, store.directories):
                file.write(piece)
                operation.progress(len(piece))
    file.flush()
