"""The renderers of the event stream."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from appliance.ui.choose import renderer
from appliance.ui.json_lines import JsonLines
from appliance.ui.plain import Plain
from appliance.ui.text import amount, elapsed, size
from tvix.events import Operation

if TYPE_CHECKING:
    from tvix.events import Event

ROOT = Path(__file__).resolve().parents[3]
WORK = """
import sys
from appliance.ui.choose import renderer
from tvix.events import Operation
with renderer(sys.argv[1]) as emit:
    with Operation(emit, "import", unit="files", total=4, interval=0, path="/x\\x1b[2Jy") as operation:
        for _ in range(4):
            operation.progress()
        operation.log("something\\x07 odd")
    print("answer")
"""


def event(unit: str, done: int, total: int | None) -> Event:
    """A record of progress."""
    records: list[Event] = []
    operation = Operation(records.append, "x", unit=unit, total=total, interval=0)
    operation.progress(done)
    return records[-1]


@pytest.mark.parametrize(
    ("unit", "done", "total", "text"),
    [
        ("files", 1234, 50000, "1,234 of 50,000 files"),
        ("files", 1, None, "1 file"),
        ("files", 0, None, "0 files"),
        ("bytes", 3 << 20, None, "3.0 MiB"),
        ("bytes", 512, 2048, "512 B of 2.0 KiB"),
        ("", 3, None, ""),
    ],
)
def test_amounts(unit: str, done: int, total: int | None, text: str) -> None:
    assert amount(event(unit, done, total)) == text


def test_sizes_and_times() -> None:
    assert [size(n) for n in (0, 1023, 1024, 5 << 30, 1 << 62)] == ["0 B", "1023 B", "1.0 KiB", "5.0 GiB", "4096.0 PiB"]
    assert [elapsed(n) for n in (0.04, 9.94, 75, 1200)] == ["0.0 s", "9.9 s", "75 s", "20 min"]


def test_plain_lines_tell_of_the_outermost_operation() -> None:
    stream = io.StringIO()
    emit = Plain(stream, interval=0)
    with Operation(emit, "closure", unit="paths", total=2, interval=0) as outer:
        for _ in range(2):
            with Operation(emit, "ingest", unit="files", interval=0, path="x") as inner:
                inner.progress()
            outer.progress()
    with Operation(emit, "next"):
        pass
    lines = [re.sub(r"[\d.]+ s$", "T", line) for line in stream.getvalue().splitlines()]
    assert lines == [
        "tvix: closure: 1 of 2 paths after T",
        "tvix: closure: 2 of 2 paths after T",
        "tvix: closure: 2 of 2 paths in T",
        "tvix: next: done in T",
    ]


def test_plain_lines_leave_failures_to_the_error() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="no"), Operation(Plain(stream), "import", unit="files"):
        raise ValueError("no")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("kind", [Plain, JsonLines])
def test_a_stream_that_is_closed_stops_nothing(kind: type[Plain | JsonLines]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = open(writer, "w")  # noqa: SIM115
    emit = kind(stream)
    with Operation(emit, "import"):
        pass
    with suppress(BrokenPipeError):
        stream.close()
    with Operation(emit, "import"):
        pass


def test_json_lines_are_the_records() -> None:
    records: list[Event] = []
    stream = io.StringIO()
    lines = JsonLines(stream)
    for emit in (records.append, lines):
        with Operation(emit, "import", unit="files", path="caf\udce9") as operation:
            operation.progress()
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [set(one) for one in told] == [{"v", "time", "id", "parent", "kind", "what", "done", "total", "unit", "fields"}] * 3
    assert [one["kind"] for one in told] == [one["kind"] for one in records] == ["start", "progress", "stop"]
    assert told[0]["fields"]["path"] == "caf\udce9"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with renderer("quiet") as emit, Operation(emit, "import"):
        pass
    assert capsys.readouterr() == ("", "")


def on_a_terminal(mode: str, **changes: str) -> tuple[str, str]:
    """What `WORK` writes to a terminal that is its stderr, and to a pipe that is its stdout."""
    terminal, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM")}
    environment = {**kept, "TERM": "xterm", **changes}
    command = [sys.executable, "-c", WORK, mode]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(terminal, 1 << 16):
            shown += piece
    except OSError:  # the terminal says so when its other end is closed
        pass
    finally:
        os.close(terminal)
    answer, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    return shown.decode(), answer.decode()


def test_bars_on_a_terminal() -> None:
    shown, answer = on_a_terminal("auto")
    assert answer == "answer\n"
    assert "import /x\\x1b[2Jy" in shown
    assert "of 4 files" in shown
    assert "something\\x07 odd" in shown
    assert "\x1b[2K" in shown
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", shown), "no colour"


def test_no_color() -> None:
    shown, _ = on_a_terminal("auto", NO_COLOR="1")
    assert "of 4 files" in shown
    assert not re.search(r"\x1b\[[0-9;]*(3[0-9]|9[0-9])m", shown)


def test_dumb_terminal() -> None:
    shown, _ = on_a_terminal("auto", TERM="dumb")
    assert "\x1b" not in shown
    assert re.search(r"^tvix: import /x\\x1b\[2Jy: 4 of 4 files in 0\.\d s\r$", shown, re.MULTILINE)


def test_bars_are_not_imported_for_plain_lines() -> None:
    script = WORK + "\nprint('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, "auto"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "answer\nFalse\n"
    assert "\x1b" not in done.stderr
