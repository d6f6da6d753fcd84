"""A private view of the machine with a /nix/store of its own: namespaces that need no privileges where the kernel allows them.

Root gets a mount namespace alone. Anyone else gets a user namespace first, in which he is who he was and may mount. Where the host
has no /nix/store to mount on, the root becomes a tmpfs on which all top-level entries of the host's root are bound, and /nix/store
beside them. Nothing is written to the host. See user_namespaces(7), mount_namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from appliance.boot import syscalls
from tvix.errors import EX_NOPERM, TvixError
from tvix.nix_compat.store_path import STORE_DIR

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_OLD = "/.host"
_ANCHORS = ("/tmp", "/mnt", "/var", "/usr")  # noqa: S108 - something is mounted on it in a private namespace; no file is made there


class NamespaceRefused(TvixError):
    """The kernel gives this user no namespace of his own, or doesn't let him mount in it."""

    identifier = "run.namespace-refused"
    message = "the kernel gives no private namespace: {step}: {reason}"
    hint = "run as root, or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 user.max_mnt_namespaces=1000"
    exit_code = EX_NOPERM


def enter(store_dir: str = STORE_DIR) -> None:
    """Move this process, which has one thread, into namespaces of its own with a directory `store_dir` to mount on.

    The working directory stays what it was. Raises `NamespaceRefused`.
    """
    where = _working_directory()
    if os.geteuid() == 0:
        _unshare(_CLONE_NEWNS)
    else:
        _become_mapped()
    _step("making mounts private", syscalls.mount, "none", "/", "", _MS_REC | _MS_PRIVATE)
    if not os.path.isdir(store_dir):
        _make_root(store_dir)
    try:
        os.chdir(where)
    except OSError:
        os.chdir("/")


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"


def _become_mapped() -> None:
    """A user namespace that knows one user and one group: ours, under the same numbers."""
    uid, gid = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNS)
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)
        except OSError as error:
            raise NamespaceRefused(step=f"writing {name}", reason=error.strerror) from None


def _make_root(store_dir: str) -> None:
    """A root that is the host's but for a directory more."""
    anchor = next(path for path in _ANCHORS if os.path.isdir(path) and not os.path.islink(path))
    _step("mounting a tmpfs", syscalls.mount, "tvix-root", anchor, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755")
    os.mkdir(anchor + _OLD)
    _step("changing the root", _pivot_root, anchor, anchor + _OLD)
    os.chdir("/")
    ours = store_dir.split("/")[1]
    with os.scandir(_OLD) as entries:
        for entry in entries:
            if entry.name not in (ours, _OLD[1:]):
                _bind(entry, f"/{entry.name}")
    _step("leaving the old root", syscalls.unmount, _OLD, syscalls.MNT_DETACH)
    os.rmdir(_OLD)
    os.makedirs(store_dir)


def _pivot_root(new: str, old: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = _PIVOT_ROOT[os.uname().machine]
    if libc.syscall(ctypes.c_long(number), new.encode(), old.encode()) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _bind(entry: os.DirEntry[str], target: str) -> None:
    """Show one entry of the old root in the new one; what can't be shown is left out."""
    with suppress(OSError):
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
            return
        if entry.is_dir(follow_symlinks=False):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        syscalls.mount(entry.path, target, "", _MS_BIND | _MS_REC)


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(ctypes.c_int(flags)) == -1:
        raise NamespaceRefused(step="unshare", reason=os.strerror(ctypes.get_errno()))


def _step(what: str, call: object, *arguments: object) -> None:
    try:
        call(*arguments)  # type: ignore[operator]
    except OSError as error:
        raise NamespaceRefused(step=what, reason=error.strerror) from None
