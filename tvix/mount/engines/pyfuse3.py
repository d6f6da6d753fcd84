"""The portable engine: libfuse through pyfuse3, for ordinary users and kernels that our own loop can't mount on.

It shows the same tree out of the same source as our own loop and costs four times as much a request, since libfuse opens every file
and every directory. pyfuse3 holds one session a process and runs in trio, so a mount of this kind is a process of its own.

What it doesn't do: libfuse keeps to itself that a caller is being killed, so one that waits for far waits until an answer or the
deadline.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pyfuse3
import trio

from tvix.json_text import to_json
from tvix.mount.attach import MountFailed, MountNotPermitted, set_read_ahead
from tvix.mount.engines import fuse_protocol as fuse
from tvix.mount.engines.pyfuse3_answers import Answers
from tvix.mount.engines.pyfuse3_attending import Attendant

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvix.mount.counters import Counters
    from tvix.mount.source import Source
    from tvix.mount.tree import Tree

_TASKS_MAX = 256
"""As many requests may wait at once; more are left with the kernel."""
_PERIOD_SECONDS = 1.0
_REFUSALS = ("permission denied", "operation not permitted", "no write access", "user_allow_other", "not owner")


class Pyfuse3Session:
    """One mount, the only one of its process."""

    def __init__(
        self, tree: Tree, source: Source, counters: Counters, *, uid: int = 0, gid: int = 0, listing: bool = False
    ) -> None:
        self.counters = counters
        self.changed: Callable[[], None] | None = None
        """Called about once a second while requests come in."""
        self._source = source
        self._attendant = Attendant(source.polled) if source.polled is not None else None
        self._answers = Answers(tree, source, counters, self.stats, uid=uid, gid=gid, listing=listing)
        if self._attendant is not None:
            self._answers.asked = self._attendant.wake
        self._destination = ""
        self._stopped = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()

    def mount(self, destination: str, *, allow_other: bool) -> None:
        """Mount at `destination`, read-only. Raises `MountNotPermitted`, `MountFailed`."""
        options = {"ro", "nosuid", "nodev", "noatime", "default_permissions", "fsname=tvix", "subtype=tvix"}
        if allow_other:
            options.add("allow_other")
        # libfuse and fusermount3 say on stderr what they say at all.
        heard, before = os.memfd_create("said", os.MFD_CLOEXEC), os.dup(2)
        os.dup2(heard, 2)
        try:
            pyfuse3.init(self._answers, destination, options)
        except RuntimeError as error:
            said = os.pread(heard, 4096, 0).decode(errors="replace").split("\n")
            reason = next((line.partition(": ")[2] or line for line in said if line), str(error))
            refused = any(word in reason.lower() for word in _REFUSALS)
            raise (MountNotPermitted if refused else MountFailed)(path=destination, reason=reason) from None
        finally:
            os.dup2(before, 2)
            os.close(before)
            os.close(heard)
        self._destination = destination

    def serve(self) -> None:
        """Answer until the file system is unmounted or `stop` is called. To be called in the main thread."""
        wake = signal.set_wakeup_fd(-1)  # trio wants to be woken by signals itself
        try:
            trio.run(self._serve)
        finally:
            signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def stop(self) -> None:
        """Have `serve` return. A signal handler may call this."""
        self._stopped = True
        if self._token is not None:
            self._token.run_sync_soon(self._scope.cancel, idempotent=True)

    def unmount(self) -> None:
        """After `mount`, whatever became of it. Who still has files open keeps them, but gets nothing out of them."""
        pyfuse3.close(unmount=True)

    def close(self) -> None:
        """Start nothing more. What is under way goes on."""
        self._source.close()

    def stats(self) -> bytes:
        """The counters as JSON; see `Counters.as_json`."""
        counts = {**self.counters.as_json(fuse.NAMES), **self._source.counters(), "waiting": self._answers.waiting}
        return to_json(counts).encode()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._answers.begin(self._token)
        with self._scope:
            if self._stopped:
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_house)
                if self._attendant is not None:
                    nursery.start_soon(self._attendant.run)
                await pyfuse3.main(max_tasks=_TASKS_MAX)
                nursery.cancel_scope.cancel()

    async def _keep_house(self) -> None:
        """Once a second while requests come in or wait; asleep otherwise."""
        await self._answers.activity.wait()
        # The first request comes after kernel and libfuse have agreed on less.
        set_read_ahead(self._destination, self._source.read_ahead_kib)
        while True:
            await self._answers.activity.wait()
            self._answers.activity = trio.Event()
            await trio.sleep(_PERIOD_SECONDS)
            if self.changed is not None:
                self.changed()
            if self._answers.waiting:
                self._source.expire()
                self._answers.activity.set()
