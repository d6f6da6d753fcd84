"""PID 1 of the initrd: from a kernel that has just started to a program out of a remote store, step by step.

The steps run in order and each can be tried again, which is what the rescue prompt's `retry` does. The console protocol is
`console.py`'s, the command line `contract.py`'s. PID 1 never ends: what goes wrong is said, and then the prompt comes, or the
machine goes off.
"""

from __future__ import annotations

import os
import sys
import time

from appliance.boot import actions, clock, contract, early, filesystems, handover, mounting, process, profile, rescue, syscalls
from appliance.boot.console import Console
from appliance.boot.modules import Modules
from appliance.net import addresses
from appliance.net.network import Network
from tvix.errors import TvixError
from tvix.json_text import RawJson

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import NoReturn

    from appliance.boot.contract import Contract
    from appliance.net.addresses import Configuration
else:
    import _signal

_COMMAND_LINE = "/proc/cmdline"


class Boot:
    """One boot: what is known so far, and how far it came."""

    def __init__(self, console: Console, forked: early.Forked | None = None) -> None:
        """`forked` is the mount process, where there is one already."""
        self.console = console
        self._forked = forked
        self._line = ""
        self.reaper = process.Reaper()
        self.exit_code = 0
        self.outcome = "ok"
        self._contract: Contract | None = None
        self._mount: mounting.MountProcess | None = None
        self._mounted = False
        self._modules: Modules | None = None
        self._next = 0
        self._steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("mounts", self._mount_kernel_file_systems),
            ("command-line", self._read_command_line),
            ("clock", self._set_clock),
            ("modules", self._load_modules),
            ("network", self._bring_network_up),
            ("mount", self._mount_store),
            ("run", self._act),
        )

    def resume(self) -> bool:
        """Go on from the step that isn't done yet. Says whether all are done now; the console has said why if not."""
        while self._next < len(self._steps):
            step, perform = self._steps[self._next]
            if step == "run" and self._contract is not None:
                step = {"init": "hand-over"}.get(self._contract.action, self._contract.action.removeprefix("tvix."))
            try:
                perform()
            except (TvixError, OSError, ValueError) as error:
                self.console.failed(step, error, **({"trace": _trace(error)} if self.console.debug else {}))
                self.outcome = "failed"
                self.exit_code = error.exit_code if isinstance(error, TvixError) else 1
                if self.is_mounted():
                    self._tell_statistics()  # the reason may be the store's: the counters have its last error
                return False
            self._next += 1
        return True

    def is_mounted(self) -> bool:
        """Whether the store is mounted and its process there."""
        return self._mounted and self._mount is not None and self._mount.ended() is None

    def mount_again(self) -> None:
        """Mount the store with a new mount process, for the rescue prompt. Raises `TvixError`."""
        if self._mount is not None:
            self._mount.stop()
            self._mount, self._mounted = None, False
        self._mount_store()

    def leave(self) -> None:
        """Unmount, so that what was read is recorded for the next boot. Harmless where nothing is mounted."""
        if self.is_mounted() and self._mount is not None:
            self._mount.stop()

    def _mount_kernel_file_systems(self) -> None:
        filesystems.mount_all()
        filesystems.open_console()
        self.console.step("mounts", "ok")

    def _read_command_line(self) -> None:
        self._line = line = command_line()
        self.console.debug = contract.debug(line)
        parsed = contract.parse(line)
        addresses.parse(parsed.ip)
        profile.check_store(parsed.store)
        self._contract = parsed
        view = {"root": parsed.root} if parsed.root else {"closure": parsed.closure}
        self.console.step("command-line", "ok", action=parsed.action, store=parsed.store, **view)
        self._fork_mount_process()

    def _set_clock(self) -> None:
        try:
            moved = clock.set_not_before_build()
        except FileNotFoundError:  # an initrd of someone else's making
            self.console.note("the initrd has no build date")
            return
        self.console.step("clock", "ok", moved=moved, now=int(time.time()))

    def _load_modules(self) -> None:
        if self._modules is None:
            self._modules = Modules(log=self.console.note)
        self._modules.for_devices()
        self._modules.need_filesystem("fuse")
        self.console.step("modules", "ok", loaded=self._modules.loaded)

    def _bring_network_up(self) -> None:
        assert self._contract is not None
        assert self._modules is not None
        request = addresses.parse(self._contract.ip)
        network = Network(request, rescan=self._modules.for_devices, log=self.console.note)
        self.console.step("network", "start", method=request.method)
        configured = network.bring_up()
        self.console.step("network", "ok", method=request.method, links=[_told(name, found) for name, found in configured.items()])
        if network.is_kept:
            process.fork(lambda: self._keep(network))

    def _keep(self, network: Network) -> None:
        """The lease keeper's process."""
        if self._is_hand_over():
            syscalls.mark_as_storage()
        network.keep()

    def _mount_store(self) -> None:
        assert self._contract is not None
        if self._mount is None:
            self._fork_mount_process()
        assert self._mount is not None
        self.console.step("mount", "start", store=self._contract.store)
        try:
            self._mount.begin()
        except TvixError:
            self._mount.stop()
            self._mount = None
            raise
        self._mounted = True
        self.console.step("mount", "ok", at=mounting.MOUNT_POINT)

    def _fork_mount_process(self) -> None:
        forked, self._forked = self._forked or early.fork(), None
        self._mount = mounting.MountProcess(forked, self.reaper, self._line)

    def _act(self) -> None:
        assert self._contract is not None
        argument = self._contract.argument or ""
        match self._contract.action:
            case "init":
                self._hand_over(argument)
            case "tvix.find":
                self.console.step("find", "start")
                count = actions.find()
                self.console.step("find", "ok", paths=count)
                self.outcome, self.exit_code = "ok", 0
            case "tvix.shell":
                self.console.step("shell", "start")
                self._finished("shell", actions.shell(self.reaper))
            case _:
                self.console.step("run", "start", command=argument)
                self._finished("run", actions.run(argument, self.reaper))
        self._tell_statistics()

    def _finished(self, step: str, status: int) -> None:
        """A program has ended by itself; that it failed is its business, and no reason for a prompt."""
        self.console.shared()
        self.console.step(step, "ok", exit=status)
        self.outcome, self.exit_code = ("program-failed" if status else "ok"), status
        if not self.is_mounted():
            self.console.step("mount", "fail", error="the mount process ended while the program ran")

    def _hand_over(self, init: str) -> NoReturn:
        assert self._contract is not None
        self.console.step("hand-over", "start", init=init)
        handover.prepare(init)
        self._tell_statistics()
        self.console.step("hand-over", "ok", init=init)
        self.console.end("handed-over", 0)
        handover.go(init, self._contract.init_arguments)

    def _tell_statistics(self) -> None:
        """What the mount has fetched, as the mount itself says: one JSON object."""
        try:
            text = os.getxattr(mounting.MOUNT_POINT, mounting.STATISTICS).decode("utf-8", "replace")
        except OSError as error:
            self.console.failed("stats", error)
            return
        self.console.step("stats", "ok", mount=RawJson(" ".join(text.split())))

    def _is_hand_over(self) -> bool:
        return self._contract is not None and self._contract.action == "init"


def command_line() -> str:
    """The kernel command line, or nothing where /proc isn't there."""
    try:
        with open(_COMMAND_LINE, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def main(forked: early.Forked | None = None) -> NoReturn:
    """Boot, and never come back. `forked` is the mount process, where there is one already."""
    console = Console()
    how = "off"
    try:
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        how = _boot(console, forked)
    except BaseException as error:
        console.failed("internal", error, trace=_trace(error))
        console.end("failed", 1)
        how = "reboot" if contract.on_failure(command_line()) == "reboot" else "off"
    while True:
        os.sync()
        if how == "reboot":
            syscalls.reboot(syscalls.RB_AUTOBOOT)
        syscalls.reboot(syscalls.RB_POWER_OFF)
        syscalls.reboot(syscalls.RB_HALT_SYSTEM)
        time.sleep(60)  # nothing switches this machine off; it stays, and says nothing more


def _boot(console: Console, forked: early.Forked | None) -> str:
    """Returns `off` or `reboot`: what is to become of the machine."""
    boot = Boot(console, forked)
    how = "off"
    done = _guarded(boot)
    if not done:
        choice = contract.on_failure(command_line())
        if choice == "prompt":
            console.step("rescue", "start")
            how = _rescue(boot)
        elif choice == "reboot":
            how = "reboot"
    boot.leave()
    console.note(f"imported: {' '.join(sorted(sys.modules))}")
    console.end(boot.outcome, boot.exit_code)
    return "reboot" if how == "reboot" else "off"


def _guarded(boot: Boot) -> bool:
    """Go through the steps. An error that nobody foresaw is a failed step too, and gets the same prompt."""
    try:
        return boot.resume()
    except Exception as error:
        boot.console.failed("internal", error, trace=_trace(error))
        boot.outcome, boot.exit_code = "failed", 1
        return False


def _rescue(boot: Boot) -> str:
    while True:
        try:
            return rescue.Rescue(boot).loop()
        except Exception as error:
            boot.console.failed("internal", error, trace=_trace(error))


def _trace(error: BaseException) -> list[str]:
    """Where it happened, innermost last: the standard module for that would bring half the library with it."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places


def _told(name: str, configuration: Configuration) -> dict[str, object]:
    gateways = [gateway for _, prefix, gateway in configuration.routes if prefix == 0]
    return {
        "link": name,
        "address": f"{configuration.address}/{configuration.prefix}",
        "gateway": gateways[0] if gateways else None,
        "resolvers": configuration.resolvers,
    }
