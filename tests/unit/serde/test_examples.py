"""The examples of embedding do what the manual says of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples/embedding"

SAID = {
    "configuration.py": [
        "www.example.org:443 Files",
        "mail.example.org:8443 Files",
        "localhost:443 Off",
        "  sites[*].port: the port to listen on, 1 to 65535",
        'sites[0].tls: expected "Off" or { Files = …; } but found a string: "Of"',
        '  did you mean "Off"?',
        "sites[1].tls.Files.kye: unknown key; expected certificate, key",
        "  did you mean key?",
        "sites[2]: 80443 is no port",
    ],
    "add_builtin.py": [
        "{'http': 80, 'https': 443}",
        "       error: nobody knows a service 'gopher'",
        "       … while decoding the first argument passed to builtins.portOf",
        "       error: expected a string but found an integer: 80",
    ],
    "replace_derivation.py": ["/build/program/bin/program", "in this order: library, program"],
    "memory_files.py": [
        "['hello one', 'hello two', 'read as a file']",
        "«string»:1:1: access to absolute path '/etc/passwd' is forbidden in pure evaluation mode",
        "the evaluation needed more than 268435456 bytes of memory",
    ],
}


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAID)


@pytest.mark.parametrize("name", SAID)
def test_example(name: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, EXAMPLES / name], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in SAID[name] if line not in lines] == []
