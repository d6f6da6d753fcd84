"""A source's connection, attended to in trio's loop beside libfuse's requests."""

from __future__ import annotations

import math
import select
from functools import partial
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tvix.mount.source import Polled


class Attendant:
    """Gives `polled` its turns: when a descriptor of its is ready, when its time has come, and after `wake`."""

    def __init__(self, polled: Polled) -> None:
        self._polled = polled
        self._woken = trio.Event()

    def wake(self) -> None:
        """Something was asked for. To be called in the loop's thread."""
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._woken = trio.Event()
            while self._polled.turn():
                await trio.lowlevel.checkpoint()  # the kernel has its turn too
            timeout = self._polled.timeout()
            with trio.move_on_after(math.inf if timeout is None else timeout):
                async with trio.open_nursery() as nursery:
                    until = partial(_first, nursery.cancel_scope)
                    nursery.start_soon(until, self._woken.wait)
                    for descriptor, events in self._polled.descriptors():
                        if events & select.POLLIN:
                            nursery.start_soon(until, partial(trio.lowlevel.wait_readable, descriptor))
                        if events & select.POLLOUT:
                            nursery.start_soon(until, partial(trio.lowlevel.wait_writable, descriptor))


async def _first(others: trio.CancelScope, wait: Callable[[], Awaitable[None]]) -> None:
    await wait()
    others.cancel()
