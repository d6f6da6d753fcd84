"""Trying out what `tvix run` does: a private user and mount namespace with a FUSE mount in it, in a process that is then gone."""

from __future__ import annotations

import ctypes
import os

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000


def try_namespace() -> tuple[str, str]:
    """(step that failed, reason); the step is empty where all of it worked.

    To be called before the process has threads, since it forks.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.write(writer, "\n".join(_steps()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        step, _, reason = pipe.read().decode().partition("\n")
    os.waitpid(child, 0)
    return step, reason


def _steps() -> tuple[str, str]:
    """In the child. The mount is at /tmp of the new namespace, which nobody else sees, and ends with the process."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    step = "a user namespace can't be made"
    try:
        _check(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS))
        step = "the user can't be mapped into the namespace"
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
        step = "/dev/fuse can't be opened"
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        step = "a FUSE mount in the namespace is refused"
        options = f"fd={device},rootmode=40000,user_id={uid},group_id={gid}"
        _check(libc.mount(b"tvix-doctor", b"/tmp", b"fuse.tvix", ctypes.c_ulong(1), options.encode()))
    except OSError as error:
        return step, error.strerror or str(error)
    return "", ""


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
