"""The manual page of that name, line by line: a site, a server, writers, readers, a mount, a boot, a renewal."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Tvix

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/manual/several-machines.md"
QEMU = "qemu-system-x86_64 "


@pytest.fixture
def group() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Shells that are ended with all they started."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.mark.root
@pytest.mark.fuse
@pytest.mark.vm
@pytest.mark.usefixtures("kernel")
def test_the_page(tvix: Tvix, hello_closure: Path, tiny_initrd: Path, tmp_path: Path, group: list[subprocess.Popen[bytes]]) -> None:
    lines = [line for line in re.findall(r"^    (.*)$", PAGE.read_text(), re.MULTILINE) if not line.startswith("make ")]
    serving = next(number for number, line in enumerate(lines) if line.startswith("tvix store serve"))
    # The server is up when it says so, which a person would see.
    lines[serving] = lines[serving].replace(" &", " > ready &") + "\nuntil grep -q READY ready; do sleep 0.05; done"
    script = "\n".join(f"echo '-- {line.split()[0]} {' '.join(line.split()[1:3])}'\n{line}" for line in lines)
    script = script.replace(f"\n{QEMU}", f"\n{QEMU}-accel tcg -cpu max -smp 2 ")
    for written, meant in (
        ("attic.example", "localhost"),
        (":8000", f":{_free_port()}"),
        (":8001", f":{_free_port()}"),
        ("/srv/store", f"{tmp_path}/store"),
        ("import docs", f"import {ROOT}/docs"),
        (".cache/hello", str(hello_closure)),
        (".cache/kernels", f"{ROOT}/.cache/kernels"),
        ("dist/initrd-tiny.img", str(tiny_initrd)),
    ):
        assert written in script
        script = script.replace(written, meant)
    environment = {**tvix.command_environment, "PATH": f"{Path(sys.executable).parent}:{tvix.command_environment['PATH']}"}
    work = tmp_path / "work"
    work.mkdir()
    # Into files: a server in the background would hold pipes open.
    with (tmp_path / "said").open("wb") as said, (tmp_path / "errors").open("wb") as errors:
        command = ["bash", "-euo", "pipefail", "-c", script]
        shell = subprocess.Popen(
            command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=errors, process_group=0
        )
        group.append(shell)
        status = shell.wait(200)
    output = (tmp_path / "said").read_text()
    assert status == 0, f"{output}\n{(tmp_path / 'errors').read_text()}"
    by_command = dict(re.findall(r"^-- (.*)\n((?:(?!-- ).*\n)*)", output, re.MULTILINE))
    assert by_command["tvix tls init"].strip() == f"{tvix.home}/.local/share/tvix/tls"
    assert len(by_command["tvix store ls"].splitlines()) == 24
    assert "Hello from a closure" in by_command["tvix run --trusted-key"]
    assert len(by_command["ls mnt"].splitlines()) == 23
    assert "Hello from a closure" in by_command[f"{QEMU}-m 256"]
    assert '"outcome":"ok"' in by_command[f"{QEMU}-m 256"]
    assert "tvix://home/server/attic" in by_command["tvix tls show"]
