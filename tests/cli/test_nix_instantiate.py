"""The personality answers as nix-instantiate of Nix 2.26 does, to the letter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, SECONDS, Tvix
from tvix.testing import transcripts

TRANSCRIPT = Path(__file__).with_name("nix_instantiate.transcript")
EXCHANGES = transcripts.read(TRANSCRIPT)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("transcript") / "files"
    transcripts.lay_out(directory)
    return directory


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[f"line {exchange.line}" for exchange in EXCHANGES])
def test_answers_as_nix_does(exchange: transcripts.Exchange, directory: Path, tvix: Tvix) -> None:
    def run(words: list[str], stdin: bytes) -> tuple[int, bytes, bytes]:
        command = [*tvix.program, "nix-instantiate", *words]
        done = subprocess.run(
            command, input=stdin, capture_output=True, env=tvix.command_environment, cwd=directory, timeout=SECONDS, check=False
        )
        return done.returncode, done.stdout, done.stderr

    assert transcripts.answer(exchange, run, directory, tvix.home).text() == exchange.text()


def test_called_by_its_name(tvix: Tvix, tmp_path: Path) -> None:
    """A link of that name to the program is enough."""
    link = tmp_path / "nix-instantiate"
    link.write_text(f"#!{sys.executable}\nimport sys\nfrom appliance.__main__ import run\nsys.exit(run())\n")
    link.chmod(0o755)
    done = subprocess.run([link, "--eval", "-E", "1 + 1"], capture_output=True, env=tvix.command_environment, timeout=SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"2\n", b"")


def test_settings_come_from_files_and_the_environment(tvix: Tvix, tmp_path: Path) -> None:
    """The user's file, then $NIX_CONFIG, then the command line; the last one counts."""
    (tmp_path / "nix.conf").write_text("eval-system = one # a comment\nexperimental-features = flakes\n\nnonsense\n")
    tvix.environment["NIX_USER_CONF_FILES"] = str(tmp_path / "nix.conf")
    system = ("nix-instantiate", "--eval", "-E", "builtins.currentSystem")
    assert tvix(*system).stdout == '"one"\n'
    tvix.environment["NIX_CONFIG"] = "eval-system = two\nextra-experimental-features = pipe-operators"
    assert tvix(*system).stdout == '"two"\n'
    assert tvix(*system, "--eval-system", "three").stdout == '"three"\n'
    assert tvix("nix-instantiate", "--eval", "-E", "1 |> (x: x)").stdout == "1\n"
    tvix.environment["NIX_CONFIG"] = "bogus = 1"
    assert tvix(*system).stderr == "warning: unknown setting 'bogus'\n"
    tvix.environment["NIX_CONFIG"] = "max-call-depth = x"
    assert "setting 'max-call-depth' has invalid value 'x'" in tvix(*system, status=1).stderr


def test_search_path_of_the_environment(tvix: Tvix) -> None:
    tvix.environment["NIX_PATH"] = "a=/tmp:/x:b=https://foo/bar:channel:nixos"
    entries = tvix("nix-instantiate", "--eval", "--strict", "--json", "-E", "builtins.nixPath").json
    assert [(entry["prefix"], entry["path"]) for entry in entries] == [
        ("a", "/tmp"),
        ("", "/x"),
        ("b", "https://foo/bar"),
        ("", "channel:nixos"),
    ]
    tvix.environment["NIX_PATH"] = ""
    (tvix.home / ".nix-defexpr" / "channels").mkdir(parents=True)
    assert tvix("nix-instantiate", "--eval", "-E", "builtins.nixPath").stdout == "[ ]\n"
    del tvix.environment["NIX_PATH"]
    if "NIX_PATH" not in os.environ:
        assert (
            str(tvix.home / ".nix-defexpr" / "channels") in tvix("nix-instantiate", "--eval", "--strict", "-E", "__nixPath").stdout
        )


def test_derivations_need_a_store(tvix: Tvix) -> None:
    finished = tvix("nix-instantiate", "-E", "1", status=1)
    assert finished.stderr == (
        "error: making derivations needs a store, which this build of tvix doesn't have; --eval and --parse need none\n"
    )


def test_help(tvix: Tvix) -> None:
    assert "--find-file" in tvix("nix-instantiate", "--help").stdout
    assert tvix("help", "nix-instantiate").stdout == tvix("nix-instantiate", "--help").stdout


def test_words_and_output_are_bytes(tvix: Tvix) -> None:
    """What isn't UTF-8 comes out as it went in."""
    command: list[str | bytes] = [*tvix.program, "nix-instantiate", "--eval", "--raw", "-E", b'"\xe9\xff" + builtins.getEnv "ODD"']
    environment = {**{os.fsencode(name): os.fsencode(value) for name, value in tvix.command_environment.items()}, b"ODD": b"\xfe"}
    done = subprocess.run(command, capture_output=True, env=environment, cwd=ROOT, timeout=SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\xe9\xff\xfe", b"")
