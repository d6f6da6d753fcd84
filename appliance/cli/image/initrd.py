"""`tvix image initrd`: the small file that, beside a kernel, is all that a machine needs to boot."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.cli.image.credentials import read_credentials
from appliance.cli.options import add_json, add_progress, describe, print_json, progress
from tvix.errors import EX_USAGE, TvixError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Make an initrd that boots machines."

PROFILES = ("initrd-minimal", "initrd-tiny", "initrd-builder")
"""The frozen trees of a checkout."""


class NoTree(TvixError):
    """No frozen tree is given, and none is where one would be."""

    identifier = "image.no-tree"
    message = "no frozen tree to put into the initrd: this program has no checkout with {looked} in it"
    hint = "say --tree DIRECTORY, or run `make freeze` in a checkout"
    exit_code = EX_USAGE


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix image initrd --kernel-modules /lib/modules/6.1.0-56-cloud-amd64 -o initrd.img",
        "tvix image initrd --kernel-modules DIR --module nvme --module ixgbe -o initrd.img",
        "tvix image initrd --kernel-modules DIR --profile initrd-tiny -o tiny.img",
        "tvix image initrd --kernel-modules DIR --credentials reader-kitchen -o kitchen.img",
        text="The image holds the frozen tree, the libraries it needs of this machine, and kernel modules: those that virtual\n"
        "machines and common servers need for a network and a mount, where the kernel has them, and those that --module names.\n"
        "The same tree, modules and options give the same bytes.",
        exits=(65, 66, 77),
    )
    modules = "the lib/modules/VERSION of the kernel that is to boot"
    output = "where the image goes; it appears once it is whole"
    profile = (
        "which of the trees that `make freeze` makes: for any store (initrd-minimal), half as large, for stores that are served "
        "with tvix+tcp or tvix+tls (initrd-tiny), for building (initrd-builder)"
    )
    tree = "a frozen tree from elsewhere"
    parser.add_argument("--kernel-modules", type=Path, required=True, metavar="DIRECTORY", help=modules)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=output)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--profile", choices=PROFILES, default=PROFILES[0], help=profile)
    which.add_argument("--tree", type=Path, metavar="DIRECTORY", help=tree)
    parser.add_argument("--module", action="append", default=[], metavar="NAME", help="a kernel module more, with what it needs")
    credentials = "what `tvix tls issue` made: the machine shows it to stores; the image is a secret then, with mode 0600"
    parser.add_argument("--credentials", metavar="DIRECTORY", help=credentials)
    add_progress(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Make it, and say what is in it."""
    from initrd import image, modules

    tree = arguments.tree or _tree_of(arguments.profile)
    directory = modules.Directory(arguments.kernel_modules)
    credentials = read_credentials(arguments.credentials) if arguments.credentials else None
    with progress(arguments) as emit:
        report = image.build(tree, directory, arguments.module, arguments.output, credentials=credentials, emit=emit)
    if arguments.json:
        print_json({"output": str(arguments.output), **report._asdict()})
    else:
        print(f"{arguments.output}: {report.size / 1e6:.1f} MB, {report.unpacked / 1e6:.1f} unpacked, {report.files} files")
        print(f"kernel modules: {' '.join(report.modules) or 'none, the kernel has them built in'}", file=sys.stderr)
    return 0


def _tree_of(profile: str) -> Path:
    """The checkout's; a frozen program has none beside it."""
    tree = Path(__file__).parents[3] / "dist" / profile
    if getattr(sys, "frozen", False) or not tree.is_dir():
        raise NoTree(looked=f"dist/{profile}")
    return tree
