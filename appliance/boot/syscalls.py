"""The system calls that Python's standard library lacks, by ctypes. Linux only; numbers of x86-64 and aarch64."""

from __future__ import annotations

import ctypes
import os

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_MOVE = 2, 4, 8, 8192
MNT_DETACH = 2
RB_AUTOBOOT, RB_POWER_OFF, RB_HALT_SYSTEM = 0x01234567, 0x4321FEDC, 0xCDEF0123
_PR_SET_PDEATHSIG = 1
_FINIT_MODULE = {"x86_64": 313, "aarch64": 273}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError with the target as its file name."""
    arguments = (source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _check(_libc.mount(*arguments), target)


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def load_module(descriptor: int, name: str) -> None:
    """finit_module(2) of an open, uncompressed module. Raises OSError; FileExistsError where it is loaded already."""
    number = _FINIT_MODULE[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), ctypes.c_int(descriptor), b"", ctypes.c_int(0)), name)


def reboot(how: int) -> None:
    """reboot(2). Returns only where the kernel can't do that."""
    _libc.reboot(ctypes.c_int(how - (1 << 32) if how >= 1 << 31 else how))


def die_with_parent(signal: int) -> None:
    """Ask for `signal` when the process that forked this one ends; 0 takes it back."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal), 0, 0, 0), "prctl")


def mark_as_storage() -> None:
    """Make this process's argv[0] begin with `@`, where systemd looks before it kills everything at shutdown.

    See systemd's "Storage daemons for the root file system". Field 48 of /proc/self/stat is where the arguments lie in memory.
    """
    with open("/proc/self/stat", "rb") as stream:
        fields = stream.read().rpartition(b")")[2].split()
    start = int(fields[45])  # the first field after the name is number 3
    ctypes.memset(start, ord("@"), 1)
