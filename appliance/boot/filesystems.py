"""The kernel's own file systems, which everything else here reads."""

from __future__ import annotations

import os

from appliance.boot import syscalls

_SAFE = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC

TABLE = (
    ("proc", "/proc", "proc", _SAFE, ""),
    ("sysfs", "/sys", "sysfs", _SAFE, ""),
    ("devtmpfs", "/dev", "devtmpfs", syscalls.MS_NOSUID, "mode=755"),
    ("devpts", "/dev/pts", "devpts", syscalls.MS_NOSUID | syscalls.MS_NOEXEC, "mode=620,ptmxmode=666,gid=5"),
    ("tmpfs", "/dev/shm", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=1777"),  # noqa: S108
    ("tmpfs", "/run", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755"),
)
"""Source, target, kind, flags, data; in the order of mounting."""

_LINKS = (("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "fd/0"), ("/dev/stdout", "fd/1"), ("/dev/stderr", "fd/2"))


def mount_all() -> None:
    """Mount the table. What is mounted already stays. Raises OSError."""
    for source, target, kind, flags, data in TABLE:
        os.makedirs(target, exist_ok=True)
        if os.path.ismount(target):
            continue
        syscalls.mount(source, target, kind, flags, data)
    for name, target in _LINKS:
        if not os.path.lexists(name):
            os.symlink(target, name)


def open_console() -> None:
    """See to it that descriptors 0, 1 and 2 are there: a kernel that finds no /dev/console starts init without them."""
    try:
        os.fstat(2)
    except OSError:
        console = os.open("/dev/console", os.O_RDWR | os.O_NOCTTY)
        for descriptor in range(3):
            os.dup2(console, descriptor)
