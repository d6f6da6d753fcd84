"""`tvix store serve`: how it ends, and what it lets callers do."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Tvix


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_each_signal_ends_it_well(tvix: Tvix, number: signal.Signals) -> None:
    command = [*tvix.program, "store", "serve", "--store", "memory:", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=tvix.command_environment) as server:
        assert server.stdout is not None
        assert re.fullmatch(rb"READY grpc\+http://127\.0\.0\.1:\d+\n", server.stdout.readline())
        server.send_signal(number)
        output, errors = server.communicate(timeout=60)
    assert (server.returncode, output, errors) == (0, b"", b"")


def test_what_was_written_is_there_when_it_is_killed(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    command = [*tvix.program, "store", "serve", "--store", f"pack:{tmp_path}/served", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=tvix.command_environment, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[1]
        path = tvix("store", "import", "--store", address, tree).lines[0]
        server.kill()
    assert tvix("store", "cat", "--store", f"pack:{tmp_path}/served", f"{path}/README").stdout == "Read me.\n"


def test_other_machines_read_where_that_is_spelled_out(tvix: Tvix, tree: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    with tvix.serving("--listen", "0.0.0.0:0", "--insecure") as (local, everywhere):
        port = everywhere.rpartition(":")[2]
        there = f"grpc+http://127.0.0.1:{port}"
        assert tvix("store", "ls", "--store", there).lines == [path]
        tvix.fails("store", "import", "--progress", "quiet", "--store", there, tree, status=77, says="refused")
        tvix("store", "import", "--store", local, tree / "README")


def test_other_machines_write_where_that_is_spelled_out(tvix: Tvix, tree: Path) -> None:
    with tvix.serving("--store", "memory:", "--listen", "[::]:0", "--insecure=write") as (local, everywhere):
        port = everywhere.rpartition(":")[2]
        there = f"grpc+http://[::1]:{port}"
        path = tvix("store", "import", "--store", there, tree).lines[0]
        assert tvix("store", "ls", "--store", local).lines == [path]


def test_server_goes_away_and_comes_back(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    """A client that waits finds a server that is started later."""
    path = tvix("store", "import", tree).lines[0]
    socket = tmp_path / "socket"
    command = [*tvix.program, "store", "ls", "--store", f"grpc+unix:{socket}"]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, env=tvix.command_environment, text=True)
    with client, tvix.serving("--listen", f"unix:{socket}"):
        output, _ = client.communicate(timeout=60)
    assert (client.returncode, output) == (0, f"{path}\n")


def test_ready_line_in_json(tvix: Tvix) -> None:
    command = [*tvix.program, "store", "serve", "--store", "memory:", "--listen", "127.0.0.1:0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=tvix.command_environment) as server:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        server.terminate()
    assert server.returncode == 0
    assert (ready["state"], ready["store"]) == ("ready", "memory:")
    assert ready["addresses"][0].startswith("grpc+http://127.0.0.1:")
