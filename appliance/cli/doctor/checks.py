"""The examinations. Each looks, tries where looking proves nothing, and never fails."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    pass

_KERNEL_MIN = (5, 4)
_PROGRAM_SECONDS = 10
_SOON_SECONDS = 14 * 86400


class Finding(NamedTuple):
    """What was found, what it means for a user, and what can be done about it; the last may be empty."""

    name: str
    state: Literal["ok", "limited", "missing"]
    found: str
    means: str
    remedy: str = ""


def examine() -> list[Finding]:
    """All of them."""
    return [kernel(), fuse(), engine(), namespaces(), nspawn(), qemu(), kvm(), network(), disk(), credentials()]


def kernel() -> Finding:
    """Version and architecture."""
    name = os.uname()
    found = f"{name.sysname} {name.release} on {name.machine}"
    digits = name.release.split("-")[0].split(".")
    version = tuple(int(part) for part in digits[:2] if part.isdigit())
    if name.sysname != "Linux":
        return Finding("kernel", "missing", found, "mounting, running and booting need Linux; serving a store may work")
    if name.machine != "x86_64":
        return Finding("kernel", "limited", found, "untested on this architecture: only x86-64 is")
    if version < _KERNEL_MIN:
        return Finding("kernel", "limited", found, "older than what mounts are tested with", "use 6.1 or newer")
    return Finding("kernel", "ok", found, "everything that needs Linux can work")


def fuse() -> Finding:
    """The device, and the right to open it."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Finding("FUSE", "missing", "no /dev/fuse", "`tvix mount` and `tvix run` can't work here", "as root: modprobe fuse")
    except PermissionError:
        means = "`tvix mount` and `tvix run` need root"
        return Finding("FUSE", "limited", "/dev/fuse may not be opened", means, "as root: chmod 666 /dev/fuse")
    except OSError as error:
        means = "`tvix mount` and `tvix run` can't work here"
        return Finding("FUSE", "missing", f"/dev/fuse: {error.strerror}", means, "as root: modprobe fuse")
    return Finding("FUSE", "ok", "/dev/fuse opens", "`tvix mount` works where an engine does; `tvix run` where namespaces work")


def engine() -> Finding:
    """Which engine would serve a mount, and why not the one before it."""
    from tvix.mount.engines.choice import why_not

    mine = why_not("fuse")
    if not mine:
        return Finding("engine", "ok", "fuse: our own loop over /dev/fuse", "`tvix mount` uses the fastest engine")
    other = why_not("pyfuse3")
    if not other:
        means = "`tvix mount` works, through fusermount3: a request costs about four times as much"
        return Finding("engine", "ok", f"pyfuse3, not fuse: {mine}", means)
    remedy = "run as root, or: apt-get install fuse3" if os.geteuid() else "as root: modprobe fuse"
    return Finding("engine", "missing", f"fuse: {mine}; pyfuse3: {other}", "`tvix mount` can't work here", remedy)


def namespaces() -> Finding:
    """A user and mount namespace, with a FUSE mount in it: tried out, since several switches can forbid each."""
    from appliance.cli.doctor.trial import try_namespace

    failed_step, reason = try_namespace()
    if not failed_step:
        found = "a private user and mount namespace, and a FUSE mount in it, were made"
        return Finding("namespaces", "ok", found, "`tvix run` works for this user, also where there is no /nix")
    state: Literal["limited", "missing"] = "limited" if os.geteuid() == 0 else "missing"
    means = "`tvix run` needs root here" if os.geteuid() else "`tvix run` may have to do without a user namespace"
    switches = [text for path in _SWITCHES if (text := _switch(path))]
    return Finding("namespaces", state, f"{failed_step}: {reason}", means, f"look at {', '.join(switches)}" if switches else "")


_SWITCHES = {
    "/proc/sys/user/max_user_namespaces": "0",
    "/proc/sys/kernel/unprivileged_userns_clone": "0",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
}
"""Settings that forbid user namespaces, with the value that does."""


def _switch(path: str) -> str:
    try:
        with open(path) as file:
            value = file.read().strip()
    except OSError:
        return ""
    return f"{path}, which is {value}," if value == _SWITCHES[path] else ""


def nspawn() -> Finding:
    """The container program that builds will use."""
    version = _version("systemd-nspawn")
    if version:
        return Finding("nspawn", "ok", version, "isolated builds will be possible; this version builds nothing yet")
    means = "no loss today: this version builds nothing yet"
    return Finding("nspawn", "missing", "no systemd-nspawn", means, "apt-get install systemd-container")


def qemu() -> Finding:
    """The machine emulator that `make demo` and the tests boot."""
    version = _version(f"qemu-system-{platform.machine()}")
    if version:
        return Finding("QEMU", "ok", version, "an initrd can be tried out in a virtual machine")
    return Finding("QEMU", "missing", "no QEMU", "`make demo` can't boot a machine", "apt-get install qemu-system-x86")


def kvm() -> Finding:
    """Whether the device opens. That guests start with it only a guest can tell, so nothing here relies on it."""
    slow = "virtual machines are emulated: several times slower, otherwise the same"
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Finding("KVM", "limited", f"/dev/kvm: {error.strerror}", slow)
    return Finding("KVM", "ok", "/dev/kvm opens", "virtual machines may be fast with `-accel kvm`; `-accel tcg` works anyway")


def network() -> Finding:
    """Links that are up, and a way out."""
    links = [name for name in _links() if name != "lo"]
    up = [name for name in links if _link_state(name) in ("up", "unknown")]
    if not links:
        return Finding("network", "limited", "no link but loopback", "only stores on this machine can be reached")
    if not up:
        return Finding("network", "limited", f"{', '.join(links)}: down", "only stores on this machine can be reached")
    routed = _has_default_route()
    means = "remote stores can be reached" if routed else "only stores on attached networks can be reached"
    found = f"{', '.join(up)} up; {'a' if routed else 'no'} default route"
    return Finding("network", "ok" if routed else "limited", found, means)


def disk() -> Finding:
    """Where the default store is or would be."""
    from appliance.cli.places import default_store
    from tvix.castore.addresses import InvalidStoreUrl, parse_address

    url = default_store()
    try:
        address = parse_address(url)
    except InvalidStoreUrl as error:
        return Finding("store", "missing", str(error), "verbs need --store", "correct $TVIX_STORE")
    if address.scheme != "pack":
        return Finding("store", "ok", url, "the store that is meant where --store isn't given")
    free = shutil.disk_usage(_existing(address.path)).free
    is_there = os.path.lexists(address.path)
    means = "the store that is meant where --store isn't given" + ("" if is_there else "; the first import makes it")
    return Finding("store", "ok", f"{url}, {free / 1e9:.1f} GB free", means)


def credentials() -> Finding:
    """What is shown to stores that want to know who calls, and for how long it holds."""
    from time import time

    from appliance.cli.places import credentials_directory
    from tvix.castore.credentials import date, files_in, own_certificate
    from tvix.errors import TvixError

    directory = credentials_directory()
    if directory is None:
        means = "stores over TLS can be used where their address names credentials"
        return Finding("credentials", "ok", "none of this user's", means, "`tvix tls issue ROLE/NAME` makes them")
    try:
        shown = files_in(directory).read()
        shown.check_dates()
    except TvixError as error:
        return Finding("credentials", "missing", str(error), "stores over TLS won't be used with them", error.hint or "")
    left = own_certificate(shown).not_after - time()
    found = f"{shown.identity}, until {date(own_certificate(shown).not_after)}"
    if left < _SOON_SECONDS:
        remedy = "`tvix tls issue ROLE/NAME --force` makes new ones"
        return Finding("credentials", "limited", found, f"they end in {left / 86400:.0f} days", remedy)
    return Finding("credentials", "ok", found, "shown to stores over TLS")


def _existing(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _version(program: str) -> str:
    """The first line of what `program --version` says; empty where there is no such program."""
    if not shutil.which(program):
        return ""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_PROGRAM_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.partition("\n")[0]


def _links() -> list[str]:
    try:
        return sorted(os.listdir("/sys/class/net"))
    except OSError:
        return []


def _link_state(name: str) -> str:
    try:
        with open(f"/sys/class/net/{name}/operstate") as file:
            return file.read().strip()
    except OSError:
        return ""


def _has_default_route() -> bool:
    """An IPv4 route to everywhere (destination and mask 0), or an IPv6 one of length 0 by a link other than lo."""
    try:
        with open("/proc/net/route") as file:
            if any(fields[1] == fields[7] == "00000000" for fields in map(str.split, file.readlines()[1:])):
                return True
        with open("/proc/net/ipv6_route") as file:
            return any(fields[1] == "00" and fields[9] != "lo" for fields in map(str.split, file))
    except OSError:
        return False
