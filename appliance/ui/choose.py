"""Which renderer fits where stderr goes. A renderer is a context manager that gives an `Emit`; it never fails its caller."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tvix.events import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tvix.events import Emit


@contextmanager
def renderer(mode: str) -> Iterator[Emit]:
    """`mode` is auto, bars, plain, json or quiet. `auto` is bars on a terminal that can redraw a line, plain elsewhere."""
    if mode == "auto":
        mode = "bars" if _can_redraw() else "plain"
    if mode == "quiet" or sys.stderr is None:
        yield silent
    elif mode == "json":
        from appliance.ui.json_lines import JsonLines

        yield JsonLines(sys.stderr)
    elif mode == "bars":
        from appliance.ui.bars import Bars

        with Bars(sys.stderr) as bars:
            yield bars
    else:
        from appliance.ui.plain import Plain

        yield Plain(sys.stderr)


def _can_redraw() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
