"""Which part of the program is meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance import __main__ as program
from appliance.boot import early

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("words", [["/init"], ["/init", "single"], ["init", "store"]], ids=" ".join)
def test_init_by_name_boots(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    started = []
    mount_process = early.Forked(1, 2, 3)
    monkeypatch.setattr("appliance.boot.early.fork_at_once", lambda: mount_process)
    monkeypatch.setattr("appliance.boot.init.main", lambda forked: started.append(forked) or 7)
    assert program.run(words) == 7
    assert started == [mount_process]


def test_first_process_boots_unless_a_verb_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("appliance.boot.early.fork_at_once", lambda: None)
    monkeypatch.setattr("appliance.boot.init.main", lambda _forked: 7)
    monkeypatch.setattr("posix.getpid", lambda: 1)
    assert program.run(["/app/tvix", "splash", "single"]) == 7
    assert program.run(["/app/tvix"]) == 7
    assert program.run(["/app/tvix", "--version"]) == 0
    assert program.run(["/app/tvix", "store", "--help"]) == 0
    assert "import-closure" in capsys.readouterr().out


@pytest.mark.root
def test_first_process_of_a_container_runs_a_verb() -> None:
    command = [
        "unshare",
        "--pid",
        "--fork",
        sys.executable,
        "-c",
        "import sys; from appliance.__main__ import run; sys.exit(run())",
    ]
    script = "import sys; sys.argv[0] = 'tvix'; from appliance.__main__ import run; sys.exit(run())"
    done = subprocess.run([*command[:-1], script, "store", "ls", "--store", "memory:"], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_what_pid_1_imports_before_it_is_known_to_be_pid_1() -> None:
    script = f"import sys; before = set(sys.modules); sys.path.insert(0, {str(ROOT)!r}); import appliance.__main__"
    command = [sys.executable, "-I", "-S", "-c", script + "; print(*set(sys.modules) - before)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"__future__", "appliance", "appliance.__main__"}
