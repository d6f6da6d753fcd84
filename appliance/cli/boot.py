"""`tvix boot`: what PID 1 of the initrd does. Here it prints the contract; only a kernel starts it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from appliance.boot import contract
from appliance.cli.options import add_json, describe, print_json
from tvix.errors import EX_USAGE, TvixError

if TYPE_CHECKING:
    import argparse

SUMMARY = "Boot a machine, as PID 1 of an initrd; --help lists the keys of the kernel command line."


class NotPid1(TvixError):
    """Someone typed `tvix boot`."""

    identifier = "boot.not-pid-1"
    message = "`tvix boot` is what the kernel starts as PID 1; this is process {pid}"
    hint = "make an initrd with `tvix image initrd` and boot it; `tvix boot --help` says what the kernel command line may hold"
    exit_code = EX_USAGE


def configure(parser: argparse.ArgumentParser) -> None:
    """Everything comes from the kernel command line, whose table is the help."""
    describe(
        parser,
        "qemu-system-x86_64 -m 384 -nographic -no-reboot -kernel vmlinuz -initrd initrd-minimal.img \\",
        "  -nic user,model=virtio-net-pci \\",
        "  -append 'console=ttyS0 quiet panic=-1 tvix.store=grpc+http://10.0.2.2:8000 tvix.root=blake3-… \\",
        '    tvix.run="/nix/store/…-hello/bin/hello"\'',
        text=f"keys of the kernel command line:\n{contract.help_text()}",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Raises `NotPid1` anywhere but in an initrd; `--json` prints the keys."""
    if arguments.json:
        print_json({"keys": [{"name": key.name, "argument": key.argument, "help": key.help} for key in contract.KEYS]})
    elif os.getpid() != 1:
        raise NotPid1(pid=os.getpid())
    else:
        from appliance.boot import init

        init.main()
    return 0
