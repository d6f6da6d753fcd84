"""What the documents say can be typed, can be typed; where they point, something is."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from appliance.__main__ import VERBS
from appliance.cli.dispatch import load_verb
from appliance.cli.options import make_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Tvix

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def _lines() -> Iterator[str]:
    """The code blocks of the documents, and the examples of `--help`."""
    for document in DOCUMENTS:
        yield from re.findall(r"^    (.*)$", document.read_text(), re.MULTILINE)
    for word, name in VERBS.items():
        module = load_verb(name, word)
        for module_name in getattr(module, "VERBS", {"": name}).values():
            text = make_parser("tvix", load_verb(module_name, word)).format_help()
            yield from re.findall(r"^  (.*)$", text.partition("example:")[2].partition("exit codes:")[0], re.MULTILINE)


def _commands() -> set[tuple[str, ...]]:
    """Every command of ours in them, without what a shell does with it."""
    found: set[tuple[str, ...]] = set()
    for line in _lines():
        if not re.search(r"\btvix [a-z-]", line):
            continue
        lexer = shlex.shlex(re.sub(r"\$\((?!tvix)[^)]*\)", "TOLD", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command: list[str] | None = None
        for token in [*lexer, ";"]:
            if token in ("tvix", ".venv/bin/tvix"):
                command = []
            elif command is not None and set(token) <= set("();<>|&"):
                found.add(tuple(command))
                command = None
            elif command is not None:
                command.append(token)
    return found


@pytest.mark.parametrize("command", sorted(_commands()), ids=" ".join)
def test_commands_can_be_parsed(command: tuple[str, ...]) -> None:
    words = list(command)
    if words[0].startswith("-") or words[-1] == "--help":
        return
    module = load_verb(VERBS[words.pop(0)], "tvix")
    while hasattr(module, "VERBS"):
        module = load_verb(module.VERBS[words.pop(0)], "tvix")
    make_parser("tvix", module).parse_args(words)


def test_commands_are_found() -> None:
    assert {("doctor",), ("store", "import", "docs"), ("store", "export", "--nar", "-", "/nix/store/…-hello")} <= _commands()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", document.read_text())
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert missing == []


def test_make_targets_exist() -> None:
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {
        target for document in DOCUMENTS for target in re.findall(r"(?:^    |`)make ([a-z-]+)", document.read_text(), re.MULTILINE)
    }
    assert told <= made


def test_architecture_names_folders_that_are_there() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    folders = [folder for row in rows for folder in re.findall(r"`([^`]+)`", row)]
    assert len(folders) > 10
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


@pytest.mark.root
@pytest.mark.fuse
@pytest.mark.nix
def test_tour(tvix: Tvix, hello_closure: Path, tmp_path: Path) -> None:
    """The tour of the README, line by line, with a port and a place of its own."""
    tour = re.findall(
        r"^    (.*)$", (ROOT / "README.md").read_text().partition("## A tour")[2].partition("Every verb")[0], re.MULTILINE
    )
    script = "\n".join(line for line in tour if not line.startswith(("make ", "PATH=")))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for written, meant in (("8000", str(port)), ("/tmp/", f"{tmp_path}/"), ("$PWD/.cache/tour", f"{tmp_path}/store")):
        assert written in script
        script = script.replace(written, meant)
    environment = {**tvix.command_environment, "PATH": f"{Path(sys.executable).parent}:{tvix.command_environment['PATH']}"}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Hello from a closure") == 2
    assert f"READY grpc+http://127.0.0.1:{port}" in done.stdout
    assert re.search(r"^blake3-", done.stdout, re.MULTILINE)
    for copy in ("docs-again", "docs-by-nix"):
        assert subprocess.run(["diff", "-r", ROOT / "docs", tmp_path / copy]).returncode == 0
    assert hello_closure.is_dir()
