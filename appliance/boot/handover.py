"""`init=`: another PID 1 takes the machine over, on a root of its own, with /nix/store still served from the initramfs.

The new root is a tmpfs that has the mount points and little else. The old root stays where it was, out of sight: the mount process
and the lease keeper live on it. Everything that can be missing is looked for first; after the first move there is no way back.
"""

from __future__ import annotations

import os

from appliance.boot import executable, process, syscalls
from appliance.net import resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

ROOT = "/sysroot"
STORE = "/nix/store"
_MOVED = (STORE, "/proc", "/sys", "/dev", "/run")
_DIRECTORIES = (("/tmp", 0o1777), ("/root", 0o700), ("/etc", 0o755), ("/var", 0o755), ("/home", 0o755))  # noqa: S108
_DROP_IN = "/run/systemd/system/nix-store.mount.d/10-tvix.conf"
_DROP_IN_TEXT = (
    "# The root's programs come from here: systemd must not unmount it before the end.\n[Unit]\nDefaultDependencies=no\n"
)


def prepare(init: str) -> None:
    """All that can fail: checks init and its interpreter, makes the new root. Raises the errors of `executable.check`, OSError."""
    executable.check(init, f"{STORE}/")
    os.makedirs(ROOT, exist_ok=True)
    if not os.path.ismount(ROOT):
        syscalls.mount("tmpfs", ROOT, "tmpfs", 0, "mode=755")
    for target in _MOVED:
        os.makedirs(ROOT + target, exist_ok=True)
    for target, mode in _DIRECTORIES:
        os.makedirs(ROOT + target, exist_ok=True)
        os.chmod(ROOT + target, mode)
    for name in (resolver.PATH, "/etc/hosts", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"):
        if os.path.exists(name) and not os.path.exists(ROOT + name):
            _copy(name, ROOT + name)
    os.makedirs(os.path.dirname(_DROP_IN), exist_ok=True)
    with open(_DROP_IN, "w", encoding="utf-8") as stream:
        stream.write(_DROP_IN_TEXT)


def go(init: str, arguments: list[str]) -> NoReturn:
    """Move the mounts, become init. Raises OSError, after which the machine can only be switched off."""
    for target in _MOVED:
        syscalls.mount(target, ROOT + target, "", syscalls.MS_MOVE)
    os.chdir(ROOT)
    syscalls.mount(".", "/", "", syscalls.MS_MOVE)
    os.chroot(".")
    os.chdir("/")
    process.restore_signals()
    process.execute([init, *arguments])


def _copy(source: str, target: str) -> None:
    with open(source, "rb") as reader, open(target, "wb") as writer:
        writer.write(reader.read())
