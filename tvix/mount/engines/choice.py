"""Which engine serves a mount: our own loop where it can, else the portable one.

Our own loop mounts by mount(2), so it needs CAP_SYS_ADMIN in the namespace that it mounts in. libfuse asks fusermount3 to mount,
which is set-uid root and does it for anybody who owns the mount point.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tvix.errors import EX_UNAVAILABLE, TvixError
from tvix.mount.attach import DEVICE, NoFuse

if TYPE_CHECKING:
    from typing import Literal

    Engine = Literal["fuse", "pyfuse3"]

ENGINES: tuple[Engine, ...] = ("fuse", "pyfuse3")
"""Our own loop over /dev/fuse; libfuse through pyfuse3. The first that can is taken."""

FUSERMOUNT = "/usr/bin/fusermount3"

_CAP_SYS_ADMIN = 21
_KERNEL_LEAST = (4, 20)


class NoEngine(TvixError):
    """None of the engines can mount here."""

    identifier = "mount.no-engine"
    message = "nothing can be mounted here; fuse: {fuse}; pyfuse3: {pyfuse3}"
    hint = "run as root, or install fusermount3: apt-get install fuse3"
    exit_code = EX_UNAVAILABLE


def choose(wanted: str = "auto") -> Engine:
    """The engine to mount with; `wanted` is its name, or `auto`, where the first is taken that can.

    Raises `NoFuse` where there is no device at all, and `NoEngine`, which names each engine's reason, where none can.
    """
    if not os.path.exists(DEVICE):
        raise NoFuse(device=DEVICE, reason="No such file or directory")
    if wanted != "auto":
        return "fuse" if wanted == "fuse" else "pyfuse3"
    reasons = {}
    for engine in ENGINES:
        reason = why_not(engine)
        if not reason:
            return engine
        reasons[engine] = reason
    raise NoEngine(**reasons)


def instead(refusal: TvixError) -> Engine:
    """The engine to go on with after our own loop was refused, which no look beforehand could know. Raises `NoEngine`."""
    reason = why_not("pyfuse3")
    if reason:
        raise NoEngine(fuse=str(refusal), pyfuse3=reason)
    return "pyfuse3"


def why_not(engine: Engine) -> str:
    """Why an engine can't mount for this process; empty where nothing speaks against it."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{DEVICE}: {error.strerror}"
    return _why_not_fuse() if engine == "fuse" else _why_not_pyfuse3()


def _why_not_fuse() -> str:
    release = os.uname().release
    digits = [part for part in release.replace("-", ".").split(".")[:2] if part.isdigit()]
    if tuple(map(int, digits)) < _KERNEL_LEAST:
        return f"Linux {release} is older than 4.20"
    return "" if _may_mount() else "this process may not mount: it lacks CAP_SYS_ADMIN"


def _why_not_pyfuse3() -> str:
    from importlib.util import find_spec

    if find_spec("pyfuse3") is None:
        return "this program was built without it"
    if _may_mount():
        return ""
    try:
        mode = os.stat(FUSERMOUNT).st_mode
    except OSError:
        return f"{FUSERMOUNT} is not installed"
    return "" if mode & 0o4000 else f"{FUSERMOUNT} is not set-uid root"


def _may_mount() -> bool:
    """Whether CAP_SYS_ADMIN is among this thread's effective capabilities. See proc_pid_status(5)."""
    try:
        with open("/proc/thread-self/status", "rb") as status:
            for line in status:
                if line.startswith(b"CapEff:"):
                    return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    except OSError:
        pass
    return os.geteuid() == 0
