"""`tvix boot`: what PID 1 of the initrd does. Here it prints the contract; only a kernel starts it."""

from __future__ import annotations

import os
from argparse import RawDescriptionHelpFormatter

from appliance.boot import contract
from tvix.errors import EX_USAGE, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

SUMMARY = "boot a machine as PID 1 of an initrd; --help lists the kernel command line's keys"

_EXAMPLE = """\
example:
  qemu-system-x86_64 -m 384 -nographic -no-reboot -kernel vmlinuz -initrd initrd-minimal.img \\
    -nic user,model=virtio-net-pci \\
    -append 'console=ttyS0 quiet panic=-1 tvix.store=grpc+http://10.0.2.2:8000 tvix.root=blake3-... \\
      tvix.run="/nix/store/...-hello/bin/hello"'
"""


class NotPid1(TvixError):
    """Someone typed `tvix boot`."""

    identifier = "boot.not-pid-1"
    message = "`tvix boot` is what the kernel starts as PID 1; this is process {pid}"
    hint = "make an initrd with `tvix image initrd` and boot it; `tvix boot --help` says what the kernel command line may hold"
    exit_code = EX_USAGE


def configure(parser: argparse.ArgumentParser) -> None:
    """No options: everything comes from the kernel command line, whose table is the help."""
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = f"keys of the kernel command line:\n{contract.help_text()}\n\n{_EXAMPLE}"


def run(arguments: argparse.Namespace) -> int:
    """Raises `NotPid1` anywhere but in an initrd."""
    del arguments
    if os.getpid() != 1:
        raise NotPid1(pid=os.getpid())
    from appliance.boot import init

    init.main()
