"""Something done once a second while there is reason to: a thread that sleeps for good as soon as there is none."""

from __future__ import annotations

from threading import Condition, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_SECONDS = 1.0


class Housekeeper:
    """Calls `tick` a period after `wake`, and again for as long as it says that there is more to come.

    `awake` may be looked at before `wake` is called, which costs more. What `tick` raises ends the process's housekeeping, so it
    must not.
    """

    def __init__(self, tick: Callable[[], bool], period: float = PERIOD_SECONDS) -> None:
        self.awake = False
        self._tick = tick
        self._period = period
        self._change = Condition()
        self._thread: Thread | None = None
        self._closed = False

    def wake(self) -> None:
        """There is something to do within a period."""
        with self._change:
            if self._closed or self.awake:
                return
            self.awake = True
            if self._thread is None:
                self._thread = Thread(target=self._run, name="housekeeper", daemon=True)
                self._thread.start()
            self._change.notify()

    def close(self) -> None:
        """Tick no more; returns when the last tick is over."""
        with self._change:
            self._closed = True
            self._change.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self.awake or self._closed)
                self._change.wait_for(lambda: self._closed, self._period)
                if self._closed:
                    return
                self.awake = False
            if self._tick():
                self.awake = True
