"""Every record of the event stream as one line of JSON: `{v, time, id, parent, kind, what, done, total, unit, fields}`."""

from __future__ import annotations

import json
from threading import Lock
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from tvix.events import Event


class JsonLines:
    """An `Emit`. Names that aren't UTF-8 come as lone surrogates, `\\udcXX` for byte XX."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        line = json.dumps(event, default=str) + "\n"
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (OSError, ValueError):
                return  # nobody reads; the work goes on
