"""Putting a FUSE file system into the tree of mounts, and taking it out again. Linux, by mount(2)."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

from tvix.errors import EX_IOERR, EX_NOINPUT, EX_NOPERM, EX_UNAVAILABLE, EX_USAGE, TvixError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = "/dev/fuse"

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOATIME = 1, 2, 4, 1024
_MNT_DETACH = 2


class NoFuse(TvixError):
    """The kernel has no FUSE, or its device isn't there."""

    identifier = "mount.no-fuse"
    message = "there is no {device}: {reason}"
    hint = "load the module with: modprobe fuse"
    exit_code = EX_UNAVAILABLE


class MountPointMissing(TvixError):
    """The place to mount on doesn't exist."""

    identifier = "mount.mount-point-missing"
    message = "{path} does not exist, so nothing can be mounted there"
    hint = "make the directory first"
    exit_code = EX_NOINPUT


class MountPointUnfit(TvixError):
    """The place to mount on isn't an empty directory."""

    identifier = "mount.mount-point-unfit"
    message = "nothing can be mounted on {path}: {reason}"
    hint = "name an empty directory"
    exit_code = EX_USAGE


class MountPointInUse(TvixError):
    """Something is mounted there already."""

    identifier = "mount.mount-point-in-use"
    message = "{path} is in use: {what} is mounted there"
    hint = "unmount it first, or name another directory"
    exit_code = EX_NOPERM


class MountNotPermitted(TvixError):
    """The kernel doesn't let this user mount here."""

    identifier = "mount.not-permitted"
    message = "mounting on {path} is not permitted: {reason}"
    hint = "run as root, or use `tvix run`, which mounts in a namespace of its own"
    exit_code = EX_NOPERM


class MountFailed(TvixError):
    """The kernel refused the mount for another reason."""

    identifier = "mount.failed"
    message = "mounting on {path} failed: {reason}"
    exit_code = EX_IOERR


def open_device() -> int:
    """A descriptor to speak FUSE over. Raises `NoFuse`, `MountNotPermitted`."""
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError as error:
        raise MountNotPermitted(path=DEVICE, reason=error.strerror) from None
    except OSError as error:
        raise NoFuse(device=DEVICE, reason=error.strerror) from None


def check_mount_point(path: str, over: bool = False) -> str:
    """See that `path` is an empty directory on which nothing is mounted; any directory will do where `over` is true.

    Says the path without symlinks in it: once mounted, looking at it would be a question to ourselves.

    Raises `MountPointMissing`, `MountPointUnfit`, `MountPointInUse`.
    """
    try:
        real = os.path.realpath(path, strict=True)
        found = next((kind for point, kind, _ in mounts() if point == real), None)
        if found is not None and not over:
            raise MountPointInUse(path=path, what=f"a file system of type {found}")
        with os.scandir(path) as entries:
            if not over and next(entries, None) is not None:
                raise MountPointUnfit(path=path, reason="it is not empty")
        return real
    except FileNotFoundError:
        raise MountPointMissing(path=path) from None
    except NotADirectoryError:
        raise MountPointUnfit(path=path, reason="it is not a directory") from None
    except OSError as error:
        raise MountPointUnfit(path=path, reason=error.strerror) from None


def attach(device: int, path: str, *, uid: int, gid: int, allow_other: bool) -> None:
    """Mount what answers on `device` at `path`, read-only. Raises `MountNotPermitted`, `MountFailed`."""
    options = f"fd={device},rootmode=40000,user_id={uid},group_id={gid},default_permissions"
    if allow_other:
        options += ",allow_other"
    flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOATIME
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tvix", os.fsencode(path), b"fuse.tvix", ctypes.c_ulong(flags), options.encode()) == 0:
        return
    number = ctypes.get_errno()
    if number in (errno.EPERM, errno.EACCES):
        raise MountNotPermitted(path=path, reason=os.strerror(number))
    if number == errno.ENODEV:
        raise NoFuse(device="FUSE in the kernel", reason=os.strerror(number))
    raise MountFailed(path=path, reason=os.strerror(number))


def detach(path: str) -> None:
    """Unmount at once: who still has files open keeps them until the device is closed. Harmless where nothing is mounted."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.umount2(os.fsencode(path), ctypes.c_int(_MNT_DETACH))


def set_read_ahead(real: str, kib: int) -> None:
    """Have the kernel read so far ahead on the mount at `real`, where this process may say so; without it 128 KiB."""
    device = [number for point, _, number in mounts() if point == real]
    try:
        with open(f"/sys/class/bdi/{device[-1]}/read_ahead_kb", "w") as setting:
            setting.write(str(kib))
    except (OSError, IndexError):
        return


def mounts() -> Iterator[tuple[str, str, str]]:
    """(mount point, type, device number as MAJOR:MINOR) of every mount this process sees; see proc_pid_mountinfo(5)."""
    try:
        with open("/proc/self/mountinfo", "rb") as stream:
            lines = stream.readlines()
    except OSError:
        return
    for line in lines:
        fields = line.split()
        point = fields[4].decode("unicode_escape").encode("latin-1") if b"\\" in fields[4] else fields[4]
        yield os.fsdecode(point), fields[fields.index(b"-") + 1].decode(), fields[2].decode()
