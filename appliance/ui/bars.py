"""Bars on a terminal, by rich, which honours NO_COLOR. The only module that imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from appliance.one_line import one_line
from appliance.ui.text import amount, size, title

if TYPE_CHECKING:
    from tvix.events import Event

_SHOWN = 8
"""At most so many bars at once."""


class Bars:
    """An `Emit` and a context manager. Bars vanish when they are done; what was logged stays."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}", markup=False),
            TextColumn("{task.fields[rate]}", markup=False, style="dim"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            transient=True,
            # Answers go to stdout, which may be a pipe while stderr is a terminal: they stay where they belong.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        if event["kind"] == "log":
            self._console.print(Text(one_line(f"{event['what']}: {event['fields'].get('text', '')}")), soft_wrap=True)
        elif event["kind"] == "start":
            if len(self._tasks) < _SHOWN:
                what = one_line(title(event))
                self._tasks[event["id"]] = self._progress.add_task(what, total=event["total"], amount=amount(event), rate="")
        elif event["id"] in self._tasks:
            self._update(event)

    def _update(self, event: Event) -> None:
        task = self._tasks[event["id"]]
        if event["kind"] == "stop":
            del self._tasks[event["id"]]
            self._progress.remove_task(task)
            self._progress.refresh()  # gone before an answer is printed where it was
            return
        self._progress.update(task, completed=event["done"], total=event["total"], amount=amount(event))
        speed = next((each.speed for each in self._progress.tasks if each.id == task), None)
        if speed and event["unit"]:
            self._progress.update(task, rate=f"{size(speed)}/s" if event["unit"] == "bytes" else f"{speed:,.0f}/s")
