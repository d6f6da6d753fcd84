"""Ctrl-C and time limits for evaluations in the same process.

Compiled code never looks whether a signal came. An observer that isn't compiled does: each call of it gives the interpreter its
turn, whose main thread then runs the signal's handler.
"""

from __future__ import annotations

import time
from contextlib import contextmanager

from tvix.eval.observer import Observer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK_AT_CLOCK_EVERY = 256


class Interrupts(Observer):
    """Raises `KeyboardInterrupt` inside of the evaluation, at the next function or builtin that begins."""

    def __init__(self) -> None:
        super().__init__(False)
        self.asked = False
        self._deadline = 0.0
        self._count = 0

    def begun(self, kind: int, name: str, position: int) -> None:  # noqa: ARG002  # as observers are called
        if self.asked:
            self.asked = False
            raise KeyboardInterrupt
        if self._deadline:
            self._count += 1
            if self._count % _LOOK_AT_CLOCK_EVERY == 0 and time.monotonic() > self._deadline:
                raise KeyboardInterrupt

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Inside, SIGINT interrupts the evaluation and nothing else. For the main thread."""
        from signal import SIGINT, signal

        def ask(_signal: int, _frame: object) -> None:
            self.asked = True

        self.asked = False
        before = signal(SIGINT, ask)
        try:
            yield
        finally:
            signal(SIGINT, before)

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Inside, an evaluation may take so long."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = 0.0
