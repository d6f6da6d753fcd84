"""`tvix key generate`: a pair of files, one to sign with and one to give away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from appliance.cli.options import UsageError, add_json, describe, print_json

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Make a signing key: NAME.secret, which nobody else may read, and NAME.public."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix key generate site-1",
        "tvix store sign-closure --key site-1.secret /nix/store/…-hello-2.10",
        text="The public key is printed: machines that shall believe what it signs are given it, as `tvix.trusted-key=` or\n"
        "`--trusted-key`. The files are as Nix has them: one line, NAME:BASE64. Nothing is ever overwritten.",
        exits=(65, 77),
    )
    parser.add_argument("name", metavar="NAME", help="the key's name, which signatures bear, such as site-1")
    parser.add_argument("--directory", metavar="DIR", default="", help="where the files are made (here)")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Make the files."""
    from appliance.cli.new_file import new_file
    from tvix.castore.export import DestinationExists
    from tvix.castore.tree import printable
    from tvix.nix_compat.signatures import SigningKey

    name = arguments.name
    if "/" in name or name.startswith("."):
        raise UsageError(command="tvix key generate", reason=f"{name!r} is to be a file's name: no slash in it, no dot before it")
    key = SigningKey.generate(name)
    secret, public = (os.path.join(arguments.directory, f"{name}.{end}") for end in ("secret", "public"))
    if os.path.lexists(public):  # looked at first: no secret key without its public one
        raise DestinationExists(path=printable(os.fsencode(public)))
    with new_file(secret) as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(f"{key.secret_text()}\n".encode())
    with new_file(public) as stream:
        stream.write(f"{key.verifying_key}\n".encode())
    if arguments.json:
        print_json({"name": name, "publicKey": str(key.verifying_key), "secretFile": secret, "publicFile": public})
    else:
        print(key.verifying_key)
    return 0
