"""`tvix run`: a program out of a store, as if the store were the machine's."""

from __future__ import annotations

from argparse import REMAINDER
from typing import TYPE_CHECKING

from appliance.cli.key.files import add_trusted_key, parse_trusted_keys
from appliance.cli.options import add_json, add_near, add_store, describe, existing_store_url, near_of, warn

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Run a program out of a store, with /nix/store mounted for it alone."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix run /nix/store/…-hello-2.10/bin/hello --greeting=hi",
        "tvix run --store grpc+http://10.0.0.1:8000 /nix/store/…-python3/bin/python3 -c 'print(1)'",
        text="The program runs in a private mount namespace, for ordinary users inside a private user namespace; the host needs\n"
        "no /nix. Only what the program reads is fetched. Its exit status is passed on, 128 + n where signal n ended it; 127\n"
        "means that it is not in the store, 126 that the kernel can't execute it. Options of tvix come before the program.",
        exits=(65, 69, 77),
    )
    add_trusted_key(parser)
    add_near(parser)
    add_store(parser)
    add_json(parser)
    parser.add_argument("program", metavar="STORE_PATH/bin/x", help="the program: a path inside a store path")
    parser.add_argument("arguments", nargs=REMAINDER, metavar="ARGS", help="what it is given")


def run(arguments: Namespace) -> int:
    """Run it."""
    from appliance.roles.run import run_program

    trusted_keys = parse_trusted_keys(arguments.trusted_key)
    near = {**near_of(arguments), "warn": warn}
    return run_program(existing_store_url(arguments), arguments.program, arguments.arguments, trusted_keys, near)
