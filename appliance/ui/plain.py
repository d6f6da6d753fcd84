"""Lines for logs and pipes: what took long says how far it is every few seconds, and everything says how it ended."""

from __future__ import annotations

from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, TextIO

from appliance.one_line import one_line
from appliance.ui.text import amount, elapsed

if TYPE_CHECKING:
    from tvix.events import Event

INTERVAL = 5.0
"""Seconds between two lines about one operation."""


class Plain:
    """An `Emit`. Operations within others are left out: their sums show in the one around them."""

    def __init__(self, stream: TextIO, interval: float = INTERVAL) -> None:
        self._stream = stream
        self._interval = interval
        self._lock = Lock()
        self._started: dict[int, tuple[float, float]] = {}

    def __call__(self, event: Event) -> None:
        kind, now = event["kind"], monotonic()
        if kind == "start":
            self._started[event["id"]] = (now, now + self._interval)
            return
        started, due = self._started.get(event["id"], (now, now))
        if kind == "log":
            self._line(f"{event['what']}: {event['fields'].get('text', '')}")
        elif kind == "stop":
            self._started.pop(event["id"], None)
            if event["parent"] is None:
                self._line(self._end(event, now - started))
        elif event["parent"] is None and now >= due:
            self._started[event["id"]] = (started, now + self._interval)
            self._line(f"{event['what']}: {amount(event)} after {elapsed(now - started)}")

    def _end(self, event: Event, seconds: float) -> str:
        verdict = "" if event["fields"].get("outcome") == "ok" else "failed after "
        done = amount(event)
        return f"{event['what']}: {verdict}{done}{' in ' if done else ''}{elapsed(seconds)}"

    def _line(self, text: str) -> None:
        with self._lock:
            try:
                self._stream.write(f"tvix: {one_line(text)}\n")
                self._stream.flush()
            except (OSError, ValueError):
                return  # nobody reads; the work goes on
