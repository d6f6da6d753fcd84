"""Where the time goes: folded stacks, as flame graphs are made of.

A line a stack: frames from the outermost, with `;` between them, and how many microseconds were spent in the last one itself. A
frame is a function (its name and where it is), a builtin, or a file. Evaluation is lazy: a value is computed below who first needs
it. A function that calls itself directly is one frame, and stacks end at `MOST_FRAMES`.
"""

from __future__ import annotations

from time import perf_counter_ns

from tvix.eval.annotations import final
from tvix.eval.observer import BUILTIN, FILE, Observer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from tvix.eval.observers.places import Places
    from tvix.eval.values import Value

MOST_FRAMES: Final = 200


@final
class _Frame:
    """A function as it is called from one stack, and what it calls."""

    def __init__(self, kind: int, name: str, position: int, up: _Frame | None) -> None:
        self.kind = kind
        self.name = name
        self.position = position
        self.up = up
        self.depth: int = 0 if up is None else up.depth + 1
        self.spent: int = 0
        self.inner: dict[tuple[int, str, int], _Frame] = {}


class Profile(Observer):
    """Measures with every call, so that small functions look somewhat dearer than they are."""

    def __init__(self) -> None:
        super().__init__(False)
        self._root = _Frame(FILE, "", 0, None)
        self._now = self._root
        self._stack: list[_Frame] = []
        self._since = perf_counter_ns()

    def begun(self, kind: int, name: str, position: int) -> None:
        time = perf_counter_ns()
        now = self._now
        now.spent += time - self._since
        self._stack.append(now)
        same = now.kind == kind and now.position == position and now.name == name
        if not same and now.depth < MOST_FRAMES:
            key = (kind, name, position)
            inner = now.inner.get(key)
            if inner is None:
                inner = now.inner[key] = _Frame(kind, name, position, now)
            self._now = inner
        self._since = perf_counter_ns()

    def ended(self, kind: int, name: str, value: Value) -> None:
        time = perf_counter_ns()
        self._now.spent += time - self._since
        self._now = self._stack.pop()
        self._since = time

    def folded(self, places: Places) -> Iterator[str]:
        """The lines, one character a byte."""
        waiting = [(self._root, "")]
        while waiting:
            frame, path = waiting.pop()
            if frame.up is not None:
                label = _label(frame, places).replace(";", ":").replace("\n", " ")
                path = f"{path};{label}" if path else label
            spent = frame.spent // 1000
            if spent and path:
                yield f"{path} {spent}"
            waiting += [(inner, path) for inner in reversed(frame.inner.values())]


def _label(frame: _Frame, places: Places) -> str:
    if frame.kind == FILE:
        return f"file {frame.name}"
    if frame.kind == BUILTIN:
        return f"builtins.{frame.name}"
    return f"{frame.name or 'lambda'} {places.text(frame.position)}"
