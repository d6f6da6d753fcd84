"""The rescue prompt: what a person at the console can do about a boot that failed. It needs no shell, no store and no network.

The prompt ends when the boot has been put right (`retry`), or when the machine is to go off or start again; an input that ends is
`off`.
"""

from __future__ import annotations

import os

from appliance.boot import actions
from appliance.boot.console import describe
from appliance.net import links
from tvix.errors import TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from appliance.boot.init import Boot

_HELP = (
    ("log", "the steps so far, and the end of the kernel's log"),
    ("ip", "network links, their addresses and the resolvers"),
    ("mount", "what is mounted; mounts the store if it isn't"),
    ("retry", "boot again from the step that failed"),
    ("run PROGRAM ARGS", "run a program and say how it ended"),
    ("reboot", "start the machine again"),
    ("off", "switch the machine off"),
)
_KERNEL_LINES = 40
_PROMPT = "tvix rescue> "


class Rescue:
    """One visit to the prompt."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._console = boot.console
        self._pending = b""

    def loop(self) -> str:
        """Read and obey. Returns `done` (the boot was put right), `off` or `reboot`."""
        self._console.say("log, ip, mount, retry, run PROGRAM ARGS, reboot, off; help explains\n")
        while True:
            self._console.say(_PROMPT)
            line = self._read_line()
            if line is None:
                return "off"
            command, _, rest = line.strip().partition(" ")
            if command in ("off", "reboot"):
                return command
            try:
                if self._obey(command, rest.strip()):
                    return "done"
            except (TvixError, OSError, ValueError) as error:
                self._complain(error)

    def _obey(self, command: str, rest: str) -> bool:
        """Whether the boot has been put right."""
        match command:
            case "":
                pass
            case "log":
                self._log()
            case "ip":
                self._ip()
            case "mount":
                self._mount()
            case "retry":
                return self._boot.resume()
            case "run" if rest:
                status = actions.run(rest, self._boot.reaper)
                self._console.say(f"exit status {status}\n")
            case "help" | "run":
                width = max(len(name) for name, _ in _HELP)
                for name, text in _HELP:
                    self._console.say(f"  {name:{width}}  {text}\n")
            case _:
                self._console.say(f"{command}: there is no such command; help lists them\n")
        return False

    def _log(self) -> None:
        for line in self._boot.console.lines:
            self._console.say(f"{line}\n")
        for text in _kernel_log()[-_KERNEL_LINES:]:
            self._console.say(f"kernel: {text}\n")

    def _ip(self) -> None:
        found = links.links()
        if not found:
            self._console.say("no network link: is there a card, and its driver in the initrd?\n")
        for link in found:
            carrier = "carrier" if link.has_carrier() else "no carrier"
            address = links.address_of(link.name) or "no address"
            self._console.say(f"{link.name}  {link.hardware.hex(':')}  {carrier}  {address}\n")
        for name in ("/proc/net/route", "/etc/resolv.conf"):
            if os.path.exists(name):
                with open(name, encoding="utf-8", errors="replace") as stream:
                    self._console.say(f"{name}:\n{stream.read()}")

    def _mount(self) -> None:
        if not self._boot.is_mounted():
            self._boot.mount_again()
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as stream:
            self._console.say(stream.read())

    def _complain(self, error: BaseException) -> None:
        hint = error.hint if isinstance(error, TvixError) else None
        self._console.say(f"{describe(error)}\n" + (f"  {hint}\n" if hint else ""))

    def _read_line(self) -> str | None:
        """A line, or None at the end of the input. Orphans are reaped meanwhile."""
        while b"\n" not in self._pending:
            if not self._boot.reaper.wait_readable(0):
                continue
            try:
                piece = os.read(0, 4096)
            except OSError:
                return None
            if not piece:
                return None
            self._pending += piece.replace(b"\r", b"\n")
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode("utf-8", "replace")


def _kernel_log() -> list[str]:
    """What /dev/kmsg has: `priority,number,microseconds,flags;text` a record."""
    lines: list[str] = []
    try:
        descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return lines
    try:
        while record := os.read(descriptor, 8192):
            head, _, text = record.decode("utf-8", "replace").partition(";")
            seconds = int(head.split(",")[2]) / 1e6
            lines.append(f"{seconds:.3f} {text.splitlines()[0]}")
    except OSError:  # EAGAIN: that was the last one
        return lines
    finally:
        os.close(descriptor)
    return lines
