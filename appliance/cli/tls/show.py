"""`tvix tls show`: what a certificate says."""

from __future__ import annotations

import os
from time import time
from typing import TYPE_CHECKING

from appliance.cli.options import add_json, describe, print_json
from tvix.castore.certificate import parse_certificate
from tvix.castore.credentials import CERTIFICATE_FILE, CredentialFiles, date, files_in, identity_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Say whose a certificate is, and until when."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix tls show reader-kitchen",
        "tvix tls show /etc/tvix/credentials/ca.pem",
        text="Of a directory, cert.pem is shown, and its key is tried. Dates are compared with this machine's clock.",
        exits=(65, 66, 77),
    )
    parser.add_argument("path", metavar="FILE|DIR", help="a certificate in PEM, or a directory that `tvix tls issue` made")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Read it and print it."""
    from tvix.castore.certificate import pem_blocks

    path: str = arguments.path
    is_directory = os.path.isdir(path) and os.path.lexists(os.path.join(path, CERTIFICATE_FILE))
    file = path if not os.path.isdir(path) else os.path.join(path, CERTIFICATE_FILE if is_directory else "ca.pem")
    if is_directory:
        credentials = files_in(path).read()
        credentials.client_context()
        contents = credentials.certificate
    else:
        contents = CredentialFiles(file).read().ca
    found = parse_certificate(pem_blocks(contents, b"CERTIFICATE")[0], file)
    now = time()
    state = "expired" if now > found.not_after else "not yet valid" if now < found.not_before else "valid"
    if arguments.json:
        answer = {
            "identity": identity_of(found),
            "addresses": found.hosts,
            "notBefore": found.not_before,
            "notAfter": found.not_after,
        }
        print_json({**answer, "state": state})
        return 0
    print(identity_of(found))
    if found.hosts:
        print("addresses:", *found.hosts)
    print("from:     ", date(found.not_before))
    print("until:    ", date(found.not_after), f"({state})")
    return 0
