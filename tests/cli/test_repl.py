"""`tvix repl` by a pipe and on a terminal: what it shows, what it completes, and that Ctrl-C ends nothing but an evaluation."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from appliance.ui.repl.builtin_documentation import BUILTINS
from tests.cli.conftest import SECONDS
from tvix.eval.evaluator import Evaluator
from tvix.eval.io import NoIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Tvix

FOREVER = (
    "let f = n: if n == 0 then 0 else f (n - 1); in "
    'builtins.trace "going" (builtins.foldl\' (a: b: f 500) 0 (builtins.genList (x: x) 1000000))'
)


def say(tvix: Tvix, *lines: str) -> str:
    """What the repl answers on stdout to lines from a pipe."""
    return tvix("repl", stdin="\n".join([*lines, ""]).encode()).stdout


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("1 + 1", "2"),
        ("{ a = 1; b = { c = 2; }; }", "{\n  a = 1;\n  b = { ... };\n}"),
        (":p { a = 1; b = { c = 2; }; }", "{\n  a = 1;\n  b = { c = 2; };\n}"),
        (":print [ [ 1 ] ]", "[\n  [ 1 ]\n]"),
        ("a: a", "«lambda @ «string»:1:1»"),
        (":t { }", "a set"),
        (":t builtins.map", "the built-in function 'map'"),
        (":type 1.5", "a float"),
        (":doc builtins.head", "builtins.head LIST\n\nThe first item."),
        (":d [ 1 (builtins.add 1 1) ]", "a list\n  2 items, 1 of them evaluated"),
        (
            ":d { a = 1; b = builtins.add 1 1; }",
            "a set\n  2 attributes\n  a: an integer, defined at «string»:1:3\n  b: not evaluated, defined at «string»:1:10",
        ),
        (
            ":d { a, b ? 1, ... }: a",
            "a function\n  takes a\n  takes b, which has a default\n  takes more than that\n  defined at «string»:1:1",
        ),
        ('"é"', '"é"'),
        ("true == false", "false"),
        ("", ""),
    ],
)
def test_answers(tvix: Tvix, line: str, answer: str) -> None:
    assert say(tvix, line).rstrip("\n") == answer


def test_variables(tvix: Tvix) -> None:
    assert say(tvix, "x = 1", "y = x + 1", "x = 5", "[ x y ]") == "[\n  5\n  2\n]\n"
    assert say(tvix, ':a { p = "q"; }', "p") == 'Added 1 variable.\n"q"\n'
    assert say(tvix, 'x = throw "not yet"', "1") == "1\n"


def test_texts_of_several_lines(tvix: Tvix) -> None:
    assert say(tvix, "let", "  x = 1;", "in", "x", "2") == "1\n2\n"
    assert say(tvix, "x =", "", "  3", "x") == "3\n"
    assert say(tvix, ":p {", "a = 1; }") == "{ a = 1; }\n"
    assert say(tvix, '"a', 'b"') == '"a\\nb"\n'


def test_errors(tvix: Tvix) -> None:
    done = tvix("repl", stdin=b'nope\nbuiltins.throw "x"\n:te\nbuiltins.throw "y"\n:te\n:foo\n:b 1\n:q 1\n2\n')
    assert done.stdout == "showing error traces\nnot showing error traces\n"
    assert "undefined variable 'nope'\n       at «string»:1:1:\n            1| nope\n" in done.stderr
    assert "unknown command ':foo'" in done.stderr
    assert ":b needs a store" in done.stderr
    done = tvix("repl", stdin=b"let f = x: x.a; in f { }\n:bt\n:te 1\n3")
    assert done.stderr.count("while calling 'f'") == 1
    assert "unexpected argument '1' to :te" in done.stderr
    assert done.stdout == "3\n"


def test_what_is_incomplete_at_the_end_is_an_error(tvix: Tvix) -> None:
    assert "unexpected end of file" in tvix("repl", stdin=b"let x = 1;\n").stderr


def test_files(tvix: Tvix, tmp_path: Path) -> None:
    file = tmp_path / "f.nix"
    file.write_text("{ debug ? false }: { inherit debug; /** Twice\n    as much. */ double = x: x * 2; }")
    assert tvix("repl", file, "--arg", "debug", "true", stdin=b"debug").stdout == "Added 2 variables.\ntrue\n"
    assert tvix("repl", "-E", "{ a = 1; }", stdin=b"a").stdout == "Added 1 variable.\n1\n"
    told = say(tvix, f":l {file}", "double 4", ":doc double").splitlines()
    assert told[:2] == ["Added 2 variables.", "8"]
    assert told[-2:] == ["Twice", "as much."]
    assert "Loading" in say(tvix, f":l {file}", ":r", "debug")
    missing = tvix("repl", stdin=f":l {tmp_path}/nope.nix\n1".encode())
    assert (missing.stdout, "nope.nix" in missing.stderr) == ("1\n", True)


def test_files_are_read_anew(tvix: Tvix, tmp_path: Path) -> None:
    file = tmp_path / "f.nix"
    file.write_text("{ a = 1; }")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nfor file; do :; done\necho "{ a = 2; }" > "$file"\n')
    editor.chmod(0o755)
    tvix.environment["EDITOR"] = str(editor)
    assert say(tvix, f":l {file}", f":e {file}", "a").splitlines()[-1] == "2"


def test_every_builtin_is_documented() -> None:
    names = set(Evaluator(NoIO()).registry.set) - {"builtins", "true", "false", "null"}
    assert names - set(BUILTINS) == set()


class Terminal:
    """A repl on a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, pattern: str) -> str:
        """What is on the screen up to a match of the pattern, without escape sequences."""
        end = time.monotonic() + SECONDS / 2
        while True:
            plain = re.sub(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[=>])|\r", "", self._seen)
            match = re.search(pattern, plain)
            if match is not None:
                self._seen = plain[match.end() :]
                return plain[: match.end()]
            assert time.monotonic() < end, plain
            if select.select([self._master], [], [], 1)[0]:
                try:
                    piece = os.read(self._master, 1 << 16).decode(errors="replace")
                except OSError:
                    raise AssertionError(plain) from None
                self._seen += piece
                if "\x1b[6n" in piece:  # it asks where the cursor is
                    self.type("\x1b[1;1R")


@contextmanager
def on_terminal(tvix: Tvix) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 200))
    environment = {**tvix.command_environment, "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [*tvix.program, "repl"], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True, close_fds=True
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait(SECONDS)
        os.close(master)


def test_terminal(tvix: Tvix) -> None:
    with on_terminal(tvix) as terminal:
        terminal.until(r"tvix>")
        terminal.type("let x = 20;\r")
        terminal.type("in x + 22\r")
        terminal.until(r"\n42\n")
        terminal.until(r"tvix>")
        terminal.type("alpha = { beta = { gamma = 7; }; }\r")
        terminal.until(r"gamma[^>]*tvix>")
        terminal.type("alpha.be\t")
        terminal.until("alpha.beta")
        terminal.type(".gam\t")
        terminal.until("gamma")
        terminal.type("\r")
        terminal.until(r"\n7\n")
        terminal.type("builtins.parseDrv\t")
        terminal.until("parseDrvName")
        terminal.type(' "a-1"\r')
        terminal.until(r"version = \"1\"")
        terminal.until(r"tvix>")
        terminal.type("\x04")
        assert terminal.process.wait(SECONDS) == 0
    history = tvix.home / ".local/share/tvix/history"
    assert "+alpha.beta.gamma" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_ctrl_c_interrupts_an_evaluation(tvix: Tvix) -> None:
    with on_terminal(tvix) as terminal:
        terminal.until(r"tvix>")
        terminal.type("kept = 11\r")
        terminal.until(r"tvix>")
        terminal.type(f"{FOREVER}\r")
        terminal.until(r"trace: going")
        time.sleep(0.2)
        os.kill(terminal.process.pid, signal.SIGINT)
        terminal.until(r"interrupted by the user")
        terminal.until(r"tvix>")
        terminal.type("kept + 1\r")
        terminal.until(r"\n12\n")
        terminal.type("1 +\x03")
        terminal.type("3 + 4\r")
        terminal.until(r"\n7\n")
