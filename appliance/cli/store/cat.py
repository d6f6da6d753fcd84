"""`tvix store cat`: the contents of files in a store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from appliance.cli.options import add_json, add_store, describe, open_existing_store
from tvix.castore.nodes import DirectoryNode, FileNode
from tvix.errors import EX_DATAERR, TvixError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Print the contents of files in a store."


class NotAFile(TvixError):
    """Contents are asked for of something that has none."""

    identifier = "cli.not-a-file"
    message = "{place} is a {kind}, not a file"
    hint = "`tvix store ls --long` shows what is there; symlinks are not followed"
    exit_code = EX_DATAERR


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix store cat /nix/store/…-hello-2.10/share/doc/hello/copyright",
        text="Contents go to stdout as they are, one file after the other. --json concerns errors alone.",
        exits=(65, 66, 69),
    )
    parser.add_argument("path", nargs="+", metavar="STORE_PATH/…", help="a file in a store path")
    add_store(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print them; all are found before the first byte is written."""
    from appliance.cli.store.paths import find
    from tvix.store.nar import render_contents

    with open_existing_store(arguments) as store:
        nodes = []
        for text in arguments.path:
            place = find(store, text)
            if not isinstance(place.node, FileNode):
                kind = "directory" if isinstance(place.node, DirectoryNode) else "symlink"
                raise NotAFile(place=place, kind=kind)
            nodes.append(place.node)
        for node in nodes:
            for piece in render_contents(node, store.blobs):
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    return 0
