"""`tvix eval` and `tvix parse` as programs: what they print, what they refuse, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import SECONDS
from tvix.testing import transcripts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Tvix


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "files"
    transcripts.lay_out(directory)
    return directory


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("-E", "1 + 1"), "2\n"),
        (("--expr=1 + 1",), "2\n"),
        (("-E1",), "1\n"),
        (("-E", "1", "-E", '"x"'), '1\n"x"\n'),
        (("-E", "{ a = 1 + 1; }"), "{ a = <CODE>; }\n"),
        (("-E", "{ a = 1 + 1; }", "--strict"), "{ a = 2; }\n"),
        (("-E", "{ a = 1 + 1; }", "--json"), '{"a":2}\n'),
        (("-E", '{ a = "x"; }', "-A", "a", "--raw"), "x"),
        (("-E", "{ a = [ 1 { b = 2; } ]; }", "-A", "a.1.b"), "2\n"),
        (("-E", "{ a = 1; b = 2; }", "-A", "a", "-A", "b"), "1\n2\n"),
        (("--arg", "x", "1 + 1", "--argstr", "y", "z", "-E", "{ x, y }: [ x y ]", "--strict"), '[ 2 "z" ]\n'),
        (("-E", "1 |> (x: x + 1)"), "2\n"),
        (("-E", "[ ]", "--xml"), "<?xml version='1.0' encoding='utf-8'?>\n<expr>\n  <list>\n  </list>\n</expr>\n"),
    ],
)
def test_values(tvix: Tvix, words: tuple[str, ...], answer: str) -> None:
    assert tvix("eval", *words).stdout == answer


def test_files(tvix: Tvix, files: Path) -> None:
    assert tvix("eval", files / "d", "-A", "here").stdout == f"{files}/d\n"
    assert tvix("eval", files / "d" / "default.nix", "-A", "a").stdout == "1\n"
    assert tvix("eval", "-I", f"p={files}", "<p/d>", "-A", "a").stdout == "1\n"
    assert tvix("eval", "-", stdin=b"1 + 1").stdout == "2\n"
    assert tvix("eval", "--", files / "fn.nix").stdout == "<LAMBDA>\n"


def test_without_a_file_it_is_the_directorys(tvix: Tvix, files: Path) -> None:
    command = [*tvix.program, "eval", "-A", "a"]
    done = subprocess.run(command, capture_output=True, env=tvix.command_environment, cwd=files / "d", timeout=SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b"")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--bogus",), "there is no option --bogus"),
        (("--jso",), "there is no option --jso; did you mean --json?"),
        (("-A",), "-A takes PATH"),
        (("--arg", "x"), "--arg takes NAME EXPR"),
        (("--xml", "--raw", "-E", "1"), "--xml and --raw can't both be had"),
        (("--max-call-depth", "-1", "-E", "1"), "--max-call-depth takes a whole number, not -1"),
        (("--max-time", "soon", "-E", "1"), "--max-time takes a number of seconds, not soon"),
        (("--max-time", "0", "-E", "1"), "--max-time takes a number of seconds, not 0"),
        (("--max-memory", "much", "-E", "1"), "--max-memory takes a whole number, not much"),
        (("--max-memory", "M", "-E", "1"), "--max-memory takes a whole number, not M"),
    ],
)
def test_wrong_words(tvix: Tvix, words: tuple[str, ...], says: str) -> None:
    finished = tvix("eval", *words, status=64)
    assert finished.stderr.splitlines()[0] == f"tvix: error: tvix eval: {says}"
    assert finished.stdout == ""


def test_errors_have_a_place(tvix: Tvix) -> None:
    finished = tvix("eval", "-E", "let f = x: { a = 1; }.bb; in f 1", status=65)
    assert finished.stdout == ""
    assert finished.stderr.splitlines()[:3] == [
        "error: attribute 'bb' missing",
        "       at «string»:1:12:",
        "            1| let f = x: { a = 1; }.bb; in f 1",
    ]


def test_errors_in_json(tvix: Tvix) -> None:
    error = _error(tvix("eval", "--json", "-E", 'builtins.addErrorContext "here" { a = 1; }.b', status=65).stderr)
    assert error["identifier"] == "eval.missing-attribute"
    assert error["message"] == "attribute 'b' missing"
    assert error["suggestions"] == ["a"]
    assert error["exitCode"] == 65
    assert error["place"] == {"source": "«string»", "line": 1, "column": 33}
    assert error["trace"][0]["text"] == "here"
    assert _error(tvix("eval", "--json", "--bogus", status=64).stderr)["identifier"] == "cli.usage"


def _error(text: str) -> dict[str, object]:
    import json

    assert text.count("\n") == 1
    error = json.loads(text)["error"]
    assert isinstance(error, dict)
    return error


def test_traces_go_to_stderr(tvix: Tvix) -> None:
    finished = tvix("eval", "-E", 'builtins.trace "a\tb\x07" (builtins.traceVerbose "no" 1)')
    assert (finished.stdout, finished.stderr) == ("1\n", "trace: a        b\n")
    assert "trace: yes" in tvix("eval", "--trace-verbose", "-E", 'builtins.traceVerbose "yes" 1').stderr
    assert "abort-on-warn is set" in tvix("eval", "--abort-on-warn", "-E", 'builtins.warn "w" 1', status=65).stderr


def test_pure(tvix: Tvix, files: Path) -> None:
    """The file that is named and what is allowed, nothing else of the machine."""
    outside = tvix("eval", "--pure", "-E", f"builtins.readFile {files}/f.txt", status=65)
    assert "is forbidden in pure evaluation mode" in outside.stderr
    assert tvix("eval", "--pure", "--allow", files, "-E", f"builtins.readFile {files}/f.txt").stdout == '"hello"\n'
    assert tvix("eval", "--pure", "-E", 'builtins.getEnv "HOME"').stdout == '""\n'
    assert tvix("eval", "--pure", "-E", "builtins ? currentTime").stdout == "false\n"
    assert tvix("eval", "--pure", files / "d" / "default.nix", "-A", "a").stdout == "1\n"
    escape = tvix("eval", "--pure", "--allow", files / "allowed", files / "allowed", "-A", "escaped", status=65)
    assert f"access to absolute path '{files}/f.txt' is forbidden" in escape.stderr


def test_restrict(tvix: Tvix, files: Path) -> None:
    inside = ("eval", "--restrict", "-I", f"p={files}/allowed", "-E")
    assert tvix(*inside, "import <p/x.nix>").stdout == '"ok"\n'
    assert tvix(*inside, "builtins.readFile <p/inner>").stdout == '"\\"ok\\"\\n"\n'
    assert "is forbidden in restricted mode" in tvix(*inside, "builtins.readFile <p/escape>", status=65).stderr


FOREVER = "builtins.foldl' (a: b: builtins.foldl' (c: d: c + d) 0 numbers) 0 numbers"


def test_time_limit(tvix: Tvix) -> None:
    """Quadratic in a million: it would take days."""
    program = f"let numbers = builtins.genList (x: x) 1000000; in {FOREVER}"
    begin = time.monotonic()
    finished = tvix("eval", "--max-time", "0.5", "-E", program, status=65)
    assert finished.stderr == "tvix: error: the evaluation took longer than 0.5 seconds\n"
    assert time.monotonic() - begin < SECONDS / 4


@pytest.mark.parametrize(
    "program",
    [
        "builtins.length (builtins.genList (x: x) 1000000000)",
        'let grow = text: builtins.seq text (grow (text + text)); in grow "0123456789"',
        "builtins.foldl' (list: n: list ++ [ n ] ++ list) [ ] (builtins.genList (x: x) 40)",
        "builtins.deepSeq (builtins.genList (x: { inherit x; }) 30000000) 1",
    ],
)
def test_memory_limit(tvix: Tvix, program: str) -> None:
    finished = tvix("eval", "--max-memory", "200M", "-E", program, status=65)
    assert finished.stderr == "tvix: error: the evaluation needed more than 209715200 bytes of memory\n"


def test_limits_let_pass_what_keeps_to_them(tvix: Tvix) -> None:
    finished = tvix("eval", "--max-time", "30", "--max-memory", "1G", "-E", "1 + 1")
    assert (finished.stdout, finished.stderr) == ("2\n", "")
    assert "attribute 'b' missing" in tvix("eval", "--max-time", "30", "-E", "{ }.b", status=65).stderr


def test_call_depth(tvix: Tvix) -> None:
    program = "let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 500"
    assert tvix("eval", "-E", program).stdout == "500\n"
    assert "max-call-depth exceeded" in tvix("eval", "--max-call-depth", "100", "-E", program, status=65).stderr


@pytest.mark.parametrize("limits", [(), ("--max-time", "60")], ids=["", "with limits"])
def test_interrupt_ends_at_once(tvix: Tvix, limits: tuple[str, ...]) -> None:
    program = f'let numbers = builtins.genList (x: x) 1000000; in builtins.trace "ready" ({FOREVER})'
    command = [*tvix.program, "eval", *limits, "-E", program]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=tvix.command_environment, process_group=0
    )
    assert process.stderr is not None
    assert process.stderr.readline() == b"trace: ready\n"
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=SECONDS)
    assert (process.returncode, stdout, stderr) == (-signal.SIGINT, b"", b"")


def test_reader_that_goes_away(tvix: Tvix) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [*tvix.program, "eval", "-E", "builtins.genList (x: 0) 100000", "--strict"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=tvix.command_environment, timeout=SECONDS)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("-E", "{ a = 1; b.c = x: x; }"), "{\n  a = 1;\n  b = {\n    c = x: x;\n  };\n}\n"),
        (("--canonical", "-E", "1 - 2"), "(__sub 1 2)\n"),
        (("--tree", "-E", "f 1", "--no-check"), "Apply @0\n  function: Variable @0\n    name: 'f'\n"),
        (("--json", "-E", "null"), '{"type": "Variable"'),
    ],
)
def test_parse(tvix: Tvix, words: tuple[str, ...], answer: str) -> None:
    assert tvix("parse", *words).stdout.startswith(answer)


def test_parse_refuses(tvix: Tvix, files: Path) -> None:
    assert "syntax error, unexpected end of file" in tvix("parse", files / "bad.nix", status=65).stderr
    assert "undefined variable 'x'" in tvix("parse", "-E", "x", status=65).stderr
    assert tvix("parse", "--no-check", "-E", "x").stdout == "x\n"
    assert _error(tvix("parse", "--json", "-E", "1 +", status=65).stderr)["identifier"] == "eval.syntax"
    assert "what is to be parsed?" in tvix("parse", status=64).stderr
