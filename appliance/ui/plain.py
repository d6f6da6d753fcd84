"""Lines for logs and pipes: what takes long says how far it is every few seconds, and what is done says so.

What failed says nothing here: the error is the line that counts.
"""

from __future__ import annotations

from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, TextIO

from appliance.one_line import one_line
from appliance.ui.text import amount, elapsed, title

if TYPE_CHECKING:
    from tvix.events import Event

INTERVAL = 5.0
"""Seconds between two lines about one operation."""


class Plain:
    """An `Emit`. Operations that run within others are left out: their sums show in the one around them."""

    def __init__(self, stream: TextIO, interval: float = INTERVAL) -> None:
        self._stream = stream
        self._interval = interval
        self._lock = Lock()
        self._started: dict[int, tuple[float, float, str]] = {}
        self._outermost: int | None = None

    def __call__(self, event: Event) -> None:
        kind, now = event["kind"], monotonic()
        if kind == "start":
            self._started[event["id"]] = (now, now + self._interval, title(event))
            if self._outermost is None:
                self._outermost = event["id"]
            return
        started, due, name = self._started.get(event["id"], (now, now, event["what"]))
        if kind == "log":
            self._line(f"{name}: {event['fields'].get('text', '')}")
        elif kind == "stop":
            self._started.pop(event["id"], None)
            if event["id"] != self._outermost:
                return
            self._outermost = None
            if event["fields"].get("outcome") == "ok":
                self._line(f"{name}: {amount(event) or 'done'} in {elapsed(now - started)}")
        elif event["id"] == self._outermost and now >= due:
            self._started[event["id"]] = (started, now + self._interval, name)
            self._line(f"{name}: {amount(event)} after {elapsed(now - started)}")

    def _line(self, text: str) -> None:
        with self._lock:
            try:
                self._stream.write(f"tvix: {one_line(text)}\n")
                self._stream.flush()
            except (OSError, ValueError):
                return  # nobody reads; the work goes on
