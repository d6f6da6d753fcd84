"""`tvix store closure`: the closure root of store paths, which is what a machine's boot pins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.options import add_json, add_store, describe, open_existing_store, print_json

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Print the closure root of store paths: the digest that pins them and all they refer to."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix store closure /nix/store/…-hello-2.10",
        "tvix store closure --json /nix/store/…-hello-2.10 | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"paths\"])'",
        text="The root is the digest of a directory that has every store path of the closure as an entry; it is stored too,\n"
        "so that `tvix.root=` on a kernel command line, or `tvix mount --root`, can be given it.",
        exits=(65, 66, 69, 77),
    )
    parser.add_argument("path", nargs="+", metavar="STORE_PATH", help="where the closure starts")
    add_store(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print it."""
    from tvix.castore.digests import print_digest
    from tvix.nix_compat.store_path import parse_store_path
    from tvix.store.closure import closure, closure_directory

    paths = [parse_store_path(text) for text in arguments.path]
    with open_existing_store(arguments) as store:
        infos = closure(store.path_infos, paths)
        directory = closure_directory(infos.values())
        if store.directories.missing([directory.digest]):  # asked first, since a store that is only read may have it
            store.directories.put([directory])
            store.directories.sync()
    root = print_digest(directory.digest)
    if arguments.json:
        sizes = sum(info.nar_size for info in infos.values())
        print_json({"root": root, "paths": [str(path) for path in infos], "narSize": sizes})
    else:
        print(root)
    return 0
