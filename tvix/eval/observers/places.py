"""Positions as text, for observers that look up many."""

from __future__ import annotations

from bisect import bisect_right

from tvix.eval.error_report import source_text
from tvix.eval.positions import Sources, line_starts, offset_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.io import EvalIO


class Places:
    """Reads each source once. What it gives has one character a byte."""

    def __init__(self, sources: Sources, io: EvalIO) -> None:
        self._sources = sources
        self._io = io
        self._starts: dict[int, list[int]] = {}

    def text(self, position: int) -> str:
        """`file:line:column`; empty for 0."""
        source = self._sources.of(position)
        if source is None:
            return ""
        starts = self._starts.get(source.number)
        if starts is None:
            starts = self._starts[source.number] = line_starts(source_text(source, self._io) or "")
        offset = offset_of(position)
        line = bisect_right(starts, offset)
        return f"{source.shown}:{line}:{offset - starts[line - 1] + 1}"
