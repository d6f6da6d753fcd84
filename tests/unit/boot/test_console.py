"""Console lines: JSON that `json` reads, one a line, whatever the text in it."""

from __future__ import annotations

import json
import os

import pytest

from appliance.boot.console import STEPS, Console, describe
from appliance.boot.contract import InvalidCommandLine
from tvix.json_text import RawJson, to_json


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def _read(pipe: tuple[int, int]) -> str:
    os.close(pipe[1])
    with os.fdopen(pipe[0], encoding="utf-8") as stream:
        return stream.read()


@pytest.mark.parametrize("value", [None, True, False, 0, -3, 1.5, 'é\n"\\\x00', [1, "a", [None]], {"a": {"b": []}}, {}])
def test_what_json_reads_back(value: object) -> None:
    assert json.loads(to_json(value)) == value


def test_raw_json_goes_through() -> None:
    assert json.loads(to_json({"stats": RawJson('{"a": 1}')})) == {"stats": {"a": 1}}


def test_lines(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1])
    console.step("clock", "ok", moved=True)
    console.failed("mount", InvalidCommandLine(reason="two\nlines"))
    console.end("failed", 3)
    first, second, third = _read(pipe).splitlines()
    assert json.loads(first.removeprefix("tvix ")) | {"t": 0} == {"t": 0, "step": "clock", "state": "ok", "moved": True}
    assert json.loads(second.removeprefix("tvix "))["error"] == "kernel command line: two lines"
    assert json.loads(third.removeprefix("tvix ")) | {"t": 0} == {"t": 0, "step": "end", "outcome": "failed", "exit": 3}


def test_a_line_never_continues_what_others_wrote(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1])
    console.say("prompt> ")
    console.step("run", "ok")
    console.shared()
    console.step("run", "ok")
    assert [line[:5] for line in _read(pipe).splitlines()] == ["promp", "tvix ", "", "tvix "]


def test_notes_are_kept_and_shown_on_demand(pipe: tuple[int, int]) -> None:
    console = Console(pipe[1])
    console.note("quiet")
    console.debug = True
    console.note("loud")
    assert [line.split()[-1] for line in console.lines] == ["quiet", "loud"]
    assert "loud" in (shown := _read(pipe))
    assert "quiet" not in shown


def test_a_console_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    Console(pipe[1]).step("run", "ok")
    os.close(pipe[1])


def test_describe() -> None:
    assert describe(FileNotFoundError(2, "No such file", "/x")) == "/x: No such file"
    assert describe(ValueError("a\nb")) == "ValueError: a b"


def test_steps_are_unique() -> None:
    assert len(set(STEPS)) == len(STEPS)
