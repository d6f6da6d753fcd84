"""Waiting for the kernel's next request: awake for a moment, asleep after that.

Who asks one thing after the other sends the next request within microseconds of a reply. Waking a thread that sleeps on another
processor costs more than answering most requests (in a virtual machine 20 µs and more), so the loop stays awake a little, and does
what can be done ahead. With a single processor that would only keep the caller from running: there it sleeps at once.
"""

from __future__ import annotations

import errno
import os
import select
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AWAKE_SECONDS = 0.0002

_TAKEN_BACK = (errno.ENOENT, errno.EINTR)  # whoever asked gave up before the request was read


class RequestReader:
    """Reads requests from `device` into one buffer. `idle` does a little work ahead and says whether there was any."""

    def __init__(self, device: int, buffer: bytearray, idle: Callable[[], bool], awake: float | None = None) -> None:
        self._device = device
        self._buffers = [buffer]
        self._idle = idle
        if awake is None:
            awake = AWAKE_SECONDS if len(os.sched_getaffinity(0)) > 1 else 0.0
        self._awake = awake
        os.set_blocking(device, awake == 0.0)

    def read(self) -> int:
        """The length of the next request, or 0 when there will be none. Raises OSError where the device fails otherwise."""
        device, buffers, readv = self._device, self._buffers, os.readv
        until = 0.0
        while True:
            try:
                return readv(device, buffers)
            except BlockingIOError:
                now = monotonic()
                if not until:
                    until = now + self._awake
                if now < until:
                    self._idle()
                else:
                    self._sleep()
            except OSError as failure:
                if failure.errno == errno.ENODEV:
                    return 0
                if failure.errno not in _TAKEN_BACK:
                    raise

    def _sleep(self) -> None:
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.poll()
