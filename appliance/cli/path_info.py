"""`tvix path-info`: what a store knows of store paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.options import add_json, add_store, describe, open_existing_store, print_json

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Say what a store knows of store paths; --json as stock Nix 2.26 prints it."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix path-info --json /nix/store/…-hello-2.10",
        "tvix path-info --recursive --size /nix/store/…-hello-2.10",
        text="Prints the paths themselves, a line each; every one must be in the store.",
        exits=(65, 66, 69),
    )
    parser.add_argument("path", nargs="+", metavar="STORE_PATH", help="the paths asked about")
    parser.add_argument("-r", "--recursive", action="store_true", help="and all that they refer to")
    parser.add_argument("-s", "--size", action="store_true", help="say the size of the NAR too, in bytes")
    add_store(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Say it."""
    from tvix.nix_compat.store_path import parse_store_path
    from tvix.store.closure import PathNotFound, closure
    from tvix.store.path_info_json import path_infos_object

    paths = [parse_store_path(text) for text in arguments.path]
    with open_existing_store(arguments) as store:
        if arguments.recursive:
            infos = list(closure(store.path_infos, paths).values())
        else:
            found = store.path_infos.get_many([path.digest for path in paths])
            for path in paths:
                if path.digest not in found or found[path.digest].path != path:
                    raise PathNotFound(path=path)
            infos = [found[path.digest] for path in dict.fromkeys(paths)]
    if arguments.json:
        print_json(path_infos_object(infos))
        return 0
    for info in infos:
        print(f"{info.path}\t{info.nar_size}" if arguments.size else info.path)
    return 0
