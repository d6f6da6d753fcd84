"""`tvix hash path`: the NAR hash of what lies on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.options import add_json, describe, print_json

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Print the SHA-256 of the NAR of files and directories, as `nix hash path` does."

_FORMATS = ("sri", "hex", "nixbase32", "base64")


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix hash path ./result",
        "tvix hash path --format nixbase32 ./result",
        text="No store is needed, and nothing is stored.",
        exits=(65, 66, 75),
    )
    parser.add_argument("path", nargs="+", metavar="PATH", help="a directory, a file or a symlink (which is not followed)")
    parser.add_argument("--format", choices=_FORMATS, default="sri", help="how the hash is written; default: sri")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print a hash a line."""
    from tvix.nix_compat.hashes import Hash
    from tvix.store.nar_hash import hash_path

    answers = []
    for path in arguments.path:
        summary = hash_path(path)
        digest = Hash("sha256", summary.sha256)
        if arguments.json:
            answers.append({"path": path, "narHash": digest.print("sri"), "narSize": summary.size})
        else:
            print(digest.print(arguments.format), flush=True)
    if arguments.json:
        print_json(answers)
    return 0
