"""What every verb has in common: how it is found, what help and errors look like, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from appliance.__main__ import PERSONALITIES, VERBS
from appliance.cli.dispatch import load_verb

if TYPE_CHECKING:
    from tests.cli.conftest import Tvix

ROOT = Path(__file__).resolve().parents[2]


def _leaves() -> list[tuple[str, ...]]:
    leaves: list[tuple[str, ...]] = []
    for word, name in VERBS.items():
        if word in PERSONALITIES:
            continue
        module = load_verb(name, word)
        leaves += [(word, below) for below in module.VERBS] if hasattr(module, "VERBS") else [(word,)]
    return leaves


def test_the_verbs_of_the_manual_are_there() -> None:
    assert {" ".join(leaf) for leaf in _leaves()} >= {
        *(f"store {verb}" for verb in ("serve", "import", "import-nar", "import-closure", "export", "ls", "cat", "closure")),
        *("path-info", "hash path", "mount", "run", "boot", "image initrd", "doctor", "selftest"),
    }


@pytest.mark.parametrize("words", _leaves(), ids=" ".join)
def test_help_of_each_verb(tvix: Tvix, words: tuple[str, ...]) -> None:
    text = tvix(*words, "--help").stdout
    assert text.startswith(f"usage: tvix {' '.join(words)}")
    assert ("--json" in text) is (words != ("repl",))
    assert f"  {'qemu-system-x86_64' if words == ('boot',) else f'tvix {words[0]}'}" in text.partition("example:")[2]
    assert re.search(r"^exit codes:\n  0 +done\n(  .*\n)*  64 ", text, re.MULTILINE)


@pytest.mark.parametrize("word", sorted(PERSONALITIES))
def test_help_of_each_personality(tvix: Tvix, word: str) -> None:
    text = tvix(word, "--help").stdout
    assert text.startswith(f"usage: {word} ")
    assert f"  {word} " in text.partition("example:")[2]
    assert re.search(r"^exit codes:\n  0 +done\n", text, re.MULTILINE)


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",)], ids=" ".join)
def test_help_lists_the_verbs(tvix: Tvix, words: tuple[str, ...]) -> None:
    text = tvix(*words).stdout
    assert "example:" in text
    for verb in VERBS:
        assert re.search(rf"^  {verb} +[A-Za-z-]", text, re.MULTILINE), verb
    assert "not in this build" not in text


@pytest.mark.parametrize(
    "words", [("help", "store", "import"), ("--help", "store", "import"), ("store", "import", "--help")], ids=" ".join
)
def test_help_of_a_verb_can_be_asked_for_before_and_after(tvix: Tvix, words: tuple[str, ...]) -> None:
    assert tvix(*words).stdout.startswith("usage: tvix store import")


@pytest.mark.parametrize("group", [word for word, name in VERBS.items() if hasattr(load_verb(name, word), "VERBS")])
def test_help_of_a_group_lists_its_verbs(tvix: Tvix, group: str) -> None:
    text = tvix(group, "--help").stdout
    assert text == tvix("help", group).stdout
    assert f"example:\n  tvix {group} " in text
    for verb in load_verb(VERBS[group], group).VERBS:
        assert f"\n  {verb} " in text


def test_boot_is_for_kernels(tvix: Tvix) -> None:
    tvix.fails("boot", status=64, says="`tvix boot` is what the kernel starts as PID 1")
    assert {key["name"] for key in tvix("boot", "--json").json["keys"]} >= {"tvix.store", "tvix.root", "tvix.run", "init", "ip"}


def test_version(tvix: Tvix) -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.*)"', pyproject, re.MULTILINE)
    assert version
    assert tvix("--version").stdout == f"tvix {version[1]}\n"


def test_installed_program(tvix: Tvix) -> None:
    tvix.program = (str(Path(sys.executable).with_name("tvix")),)
    assert tvix("--version").stdout.startswith("tvix ")


def test_called_by_the_name_of_a_verb(tvix: Tvix, tmp_path: Path) -> None:
    program = tmp_path / "tvix-path-info"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom appliance.__main__ import run\nsys.exit(run())\n")
    program.chmod(0o755)
    tvix.program = (str(program),)
    assert tvix("--help").stdout.startswith("usage: tvix path-info")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "what is to be done?"),
        (("store",), "what is to be done?"),
        (("stroe",), "did you mean `tvix store`?"),
        (("store", "improt"), "did you mean `tvix store import`?"),
        (("qqqq",), "there is no `tvix qqqq`"),
        (("path-info",), "the following arguments are required: STORE_PATH"),
        (("path-info", "--jsno", "x"), "unrecognized arguments: --jsno"),
        (("store", "serve"), "--listen"),
        (("store", "ls", "--stor", "memory:"), "unrecognized arguments"),
        (("doctor", "x\x1b[31my\nz"), r"unrecognized arguments: x\x1b[31my\nz"),
    ],
)
def test_wrong_command_line(tvix: Tvix, words: tuple[str, ...], says: str) -> None:
    tvix.fails(*words, status=64, says=says)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://x", "scheme 'ftp' is unknown"),
        ("/srv/store", "it has no scheme"),
        ("pack:relative", "wants an absolute path"),
        ("grpc+http://host", "HOST:PORT"),
        ("memory:?what=1", "parameter 'what' is unknown"),
    ],
)
def test_wrong_store_address(tvix: Tvix, url: str, says: str) -> None:
    tvix.fails("store", "ls", "--store", url, status=64, says=says)
    tvix.environment["TVIX_STORE"] = url
    tvix.fails("store", "ls", status=64, says=says)


def test_errors_in_json(tvix: Tvix) -> None:
    finished = tvix("path-info", "--json", "/nix/store/x", "--store", "memory:", status=65)
    error = json.loads(finished.stderr)["error"]
    assert error["identifier"] == "nix-compat.invalid-store-path"
    assert error["exitCode"] == 65
    assert error["fields"]["text"] == "/nix/store/x"
    assert error["message"].startswith("'/nix/store/x' is not a store path")
    assert error["hint"]


def test_usage_errors_in_json(tvix: Tvix) -> None:
    assert json.loads(tvix("path-info", "--json", status=64).stderr)["error"]["identifier"] == "cli.usage"


def test_a_bug_is_reported_in_one_line_with_a_file(tvix: Tvix, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import appliance.cli.doctor as d\nd.run = lambda _: {}['no such key']\n")
    tvix.environment["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    finished = tvix.fails("doctor", status=70, says="this is a bug in tvix: KeyError: 'no such key'")
    path = re.search(r"report written to (\S+)\)", finished.stderr)
    assert path
    assert path[1].startswith(f"{tvix.home}/.local/state/tvix/reports/")
    report = Path(path[1]).read_text()
    assert "Traceback (most recent call last)" in report
    assert "words: ['doctor']" in report


def test_a_bug_shows_its_traceback_where_asked(tvix: Tvix, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import appliance.cli.doctor as d\nd.run = lambda _: {}['no such key']\n")
    environment = {**tvix.command_environment, "PYTHONPATH": f"{tmp_path}:{ROOT}", "TVIX_DEBUG": "1"}
    done = subprocess.run([*tvix.program, "doctor"], capture_output=True, text=True, env=environment)
    assert done.returncode == 70
    assert "Traceback" in done.stderr


def test_a_reader_that_went_away_ends_it_quietly(tvix: Tvix) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*tvix.program, "--help"], stdout=writer, stderr=subprocess.PIPE, env=tvix.command_environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("doctor",)], ids=" ".join)
def test_full_output_is_an_error(tvix: Tvix, words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*tvix.program, *words], stdout=full, stderr=subprocess.PIPE, env=tvix.command_environment)
    assert done.returncode == 74
    assert done.stderr == b"tvix: error: No space left on device\n"


def test_closed_output(tvix: Tvix) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *tvix.program, "doctor"], capture_output=True, env=tvix.command_environment
    )
    assert done.returncode == 0


def test_interrupt_ends_with_130(tvix: Tvix) -> None:
    command = [*tvix.program, "store", "import-nar", "--name", "x", "--store", "memory:", "--progress", "json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=tvix.command_environment) as process:
        assert process.stderr is not None
        assert json.loads(process.stderr.readline())["kind"] == "start"
        process.send_signal(signal.SIGINT)
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 130


def test_start_up_is_light() -> None:
    """`tvix --version` imports next to nothing beyond what the interpreter starts with."""
    script = "import sys; before = set(sys.modules)\nfrom appliance.__main__ import run\nrun(['tvix', '--version'])\n"
    script += "print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}"], capture_output=True, text=True
    )
    version, modules = done.stdout.splitlines()
    assert version.startswith("tvix ")
    assert set(modules.split()) == {"appliance", "appliance.__main__", "__future__", "tvix"}
