"""What long operations say while they run: one stream of records that terminals, logs and JSON readers all render.

An operation takes an `Emit` and never prints. Units are `bytes`, `files`, `paths` or `requests`; `total` is None where it isn't
known.
"""

from __future__ import annotations

from itertools import count
from time import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, TypedDict

    Kind = Literal["start", "progress", "log", "stop"]

    class Event(TypedDict):
        """One record, as JSON lines carry it. `v` is the version of this shape, which only grows."""

        v: int
        time: float
        id: int
        parent: int | None
        kind: Kind
        what: str
        done: int
        total: int | None
        unit: str
        fields: dict[str, object]

    Emit = Callable[[Event], None]

_ids = count(1)


def silent(_event: Event) -> None:
    """The `Emit` of a caller who doesn't care."""


class Operation:
    """One operation in the stream; a context manager that says start and stop. `progress` is cheap enough for every file.

    Progress records are sent at most every `interval` seconds, so a fast loop may call `progress` as it likes.
    """

    __slots__ = ("_due", "_emit", "_interval", "done", "fields", "id", "parent", "total", "unit", "what")

    def __init__(
        self,
        emit: Emit,
        what: str,
        *,
        unit: str = "",
        total: int | None = None,
        parent: int | None = None,
        interval: float = 0.1,
        **fields: object,
    ) -> None:
        self._emit = emit
        self._interval = interval
        self._due = 0.0
        self.id = next(_ids)
        self.parent = parent
        self.what = what
        self.unit = unit
        self.total = total
        self.done = 0
        self.fields: dict[str, object] = fields

    def __enter__(self) -> Operation:
        self._say("start", self.fields)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        outcome = "ok" if error is None else "failed"
        self._say("stop", {**self.fields, "outcome": outcome})

    def progress(self, step: int = 1) -> None:
        """Count `step` more units as done."""
        self.done += step
        now = time()
        if now >= self._due:
            self._due = now + self._interval
            self._say("progress", {})

    def log(self, text: str, **fields: object) -> None:
        """Say something worth a line of its own."""
        self._say("log", {"text": text, **fields})

    def _say(self, kind: Kind, fields: dict[str, object]) -> None:
        self._emit(
            {
                "v": 1,
                "time": time(),
                "id": self.id,
                "parent": self.parent,
                "kind": kind,
                "what": self.what,
                "done": self.done,
                "total": self.total,
                "unit": self.unit,
                "fields": fields,
            }
        )
