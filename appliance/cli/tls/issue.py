"""`tvix tls issue`: a certificate and a key for one machine or person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.options import UsageError, add_json, describe, print_json
from appliance.cli.tls.files import add_directory, authority_directory, read_authority, write_directory
from tvix.castore.credentials import CA_FILE, CERTIFICATE_FILE, KEY_FILE

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Issue a certificate: a directory with ca.pem, cert.pem and key.pem."

_DAYS_MAX = 3650


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix tls issue server/attic --address attic.example --address 10.0.0.1",
        "tvix tls issue reader/kitchen -o /etc/tvix/credentials",
        "tvix tls issue writer/desk --days 30 --force",
        text="Roles: a server serves; reader and builder may read; writer and admin may also write.\n"
        "The directory goes to the machine it is for, by a way that nobody else can read: key.pem is a secret.",
        exits=(65, 77),
    )
    parser.add_argument("identity", metavar="ROLE/NAME", help="server, reader, writer, builder or admin, and whom it is for")
    parser.add_argument(
        "--address", action="append", default=[], metavar="HOST", help="a host name or IP address that clients reach the server by"
    )
    parser.add_argument("--days", type=int, default=365, metavar="N", help="how long it lasts (365)")
    parser.add_argument("-o", "--output", metavar="DIR", help="the directory to make; default: ROLE-NAME here")
    parser.add_argument("--force", action="store_true", help="replace the files of a directory that is there")
    add_directory(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Make it and say where."""
    from tvix.grpc_api.authority import InvalidIdentity, check_role, issue

    if not 1 <= arguments.days <= _DAYS_MAX:
        raise UsageError(command="tvix tls issue", reason=f"--days is from 1 to {_DAYS_MAX}")
    role, slash, name = arguments.identity.partition("/")
    if not slash:
        raise InvalidIdentity(what="identity", text=arguments.identity, reason="it wants a role and a name")
    check_role(role, name, arguments.address)
    directory = authority_directory(arguments)
    authority = read_authority(directory)
    issued = issue(authority, role, name, arguments.address, days=arguments.days)
    with open(f"{directory}/{CA_FILE}", "rb") as file:
        ca = file.read()
    output = arguments.output or f"{role}-{name}"
    files = {KEY_FILE: issued.key.reveal(), CERTIFICATE_FILE: issued.certificate, CA_FILE: ca}
    write_directory(output, files, replace=arguments.force)
    if arguments.json:
        print_json({"identity": f"tvix://{authority.site}/{role}/{name}", "directory": output})
    else:
        print(output)
    return 0
