"""`tvix tls init`: the CA of a site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.options import add_json, describe, print_json
from appliance.cli.tls.files import CA_KEY_FILE, add_directory, authority_directory, write_directory
from tvix.castore.credentials import CA_FILE

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Make the CA of a site, whose machines know each other by its certificates."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix tls init home",
        "tvix tls init plant-7 --directory /srv/plant-7-ca",
        text="Whoever has the directory can issue certificates for every role: keep it on one machine, and keep a copy.\n"
        "It holds ca.pem, which is no secret, and ca-key.pem, which is. A CA lasts ten years.",
        exits=(77,),
    )
    parser.add_argument(
        "site", metavar="SITE", help="lower-case letters, digits, - and .; part of every identity, tvix://SITE/ROLE/NAME"
    )
    add_directory(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Make it and say where."""
    from tvix.grpc_api.authority import make_authority

    directory = authority_directory(arguments)
    made = make_authority(arguments.site)
    write_directory(directory, {CA_FILE: made.certificate, CA_KEY_FILE: made.key.reveal()})
    if arguments.json:
        print_json({"site": arguments.site, "directory": directory})
    else:
        print(directory)
    return 0
