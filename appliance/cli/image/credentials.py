"""`tvix image credentials`: one image for many machines, each with its own certificate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from appliance.cli.options import add_json, describe, print_json
from tvix.errors import EX_NOINPUT, TvixError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tvix.castore.credentials import Credentials

SUMMARY = "Copy an initrd and give the copy the credentials of one machine."


class NoImage(TvixError):
    """The image to copy isn't there, or can't be read."""

    identifier = "image.no-image"
    message = "can't read the image {image}: {reason}"
    hint = "`tvix image initrd` makes one"
    exit_code = EX_NOINPUT


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix image credentials initrd.img reader-kitchen -o kitchen.img",
        text="Takes no time: they are an archive of their own behind that of the image, as kernels understand it.\n"
        "The copy is a secret, with mode 0600: whoever can read it can be that machine.",
        exits=(65, 66, 77),
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="what `tvix image initrd` made")
    parser.add_argument("credentials", metavar="DIRECTORY", help="what `tvix tls issue` made")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the copy; it appears once it is whole")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Make the copy and say where."""
    from initrd import image

    credentials = read_credentials(arguments.credentials)
    try:
        arguments.image.open("rb").close()
    except OSError as error:
        raise NoImage(image=arguments.image, reason=error.strerror) from None
    image.add_credentials(arguments.image, credentials, arguments.output)
    if arguments.json:
        print_json({"output": str(arguments.output), "identity": credentials.identity})
    else:
        print(f"{arguments.output}: {credentials.identity}")
    return 0


def read_credentials(directory: str) -> Credentials:
    """What a machine is to have must be right before it is in an image. Raises the errors of `tvix.castore.tls_errors`."""
    from tvix.castore.credentials import files_in

    credentials = files_in(directory).read()
    credentials.check_dates()
    credentials.client_context()
    return credentials
