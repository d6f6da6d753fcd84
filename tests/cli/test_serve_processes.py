"""`tvix store serve --processes N`: several processes that look like one."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Tvix

SECONDS = 30


@contextmanager
def serving(tvix: Tvix, *words: str | Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Two processes, and the addresses they serve."""
    command = [*tvix.program, "store", "serve", "--processes", "2", "--listen", "127.0.0.1:0", *map(str, words)]
    environment = tvix.command_environment
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True) as server:
        try:
            assert server.stdout is not None
            word, *addresses = server.stdout.readline().split()
            assert word == "READY"
            yield server, addresses
        finally:
            server.kill()


def children(server: subprocess.Popen[str]) -> list[int]:
    """The processes that do the work."""
    return [int(number) for number in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


def await_end(child: int) -> None:
    """Of a process that isn't ours to wait for. Its number isn't given to another while somebody else hasn't waited for it."""
    with suppress(ProcessLookupError), os.fdopen(os.pidfd_open(child)) as ended:
        assert select.select([ended], [], [], SECONDS)[0]


def test_all_ways_lead_to_the_same_store(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    words = ("--listen", "tvix+tcp://127.0.0.1:0", "--listen", f"unix:{tmp_path}/grpc", "--listen", f"tvix+unix:{tmp_path}/framed")
    with serving(tvix, *words) as (server, addresses):
        assert len(children(server)) == 2
        path = tvix("store", "import", "--store", addresses[0], tree).lines[0]
        for address in addresses * 2:
            assert tvix("store", "ls", "--store", address).lines == [path]
        server.terminate()
        output, errors = server.communicate(timeout=SECONDS)
    assert (server.returncode, output, errors) == (0, "", "")
    assert tvix("store", "ls").lines == [path]
    assert tvix("store", "verify", "--check-contents").status == 0


def test_who_dies_is_started_anew(tvix: Tvix) -> None:
    with serving(tvix, "--listen", "tvix+tcp://127.0.0.1:0", "--progress", "plain") as (server, addresses):
        assert server.stderr is not None
        for child in children(server):
            os.kill(child, signal.SIGKILL)
            while "SIGKILL: started anew" not in server.stderr.readline():
                assert server.poll() is None
        for address in addresses:
            assert tvix("store", "ls", "--store", address).lines == []
        server.send_signal(signal.SIGINT)
        _output, errors = server.communicate(timeout=SECONDS)
    assert (server.returncode, errors.count("started anew")) == (0, 0)


def test_children_end_with_their_parent(tvix: Tvix) -> None:
    with serving(tvix) as (server, _addresses):
        before = children(server)
        server.kill()
        for child in before:
            await_end(child)


def test_stores_that_one_process_has_for_itself(tvix: Tvix) -> None:
    tvix.fails(
        "store", "serve", "--processes", "2", "--store", "memory:", "--listen", "127.0.0.1:0", status=64, says="several processes"
    )


def test_what_goes_wrong_at_the_start_is_said_once(tvix: Tvix, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tvix.fails("store", "serve", "--processes", "2", "--listen", f"127.0.0.1:{port}", status=69, says="in use")
    (tmp_path / "file").write_text("")
    words = ("store", "serve", "--processes", "2", "--store", f"pack:{tmp_path}/file", "--listen", "127.0.0.1:0")
    one = tvix(*words[:2], *words[4:], status=66)
    assert tvix(*words, status=66).stderr == one.stderr


@pytest.mark.parametrize("number", ["0", "-1", "65", "many"])
def test_numbers_of_processes_that_are_none(tvix: Tvix, number: str) -> None:
    tvix.fails("store", "serve", "--processes", number, "--listen", "127.0.0.1:0", status=64, says="number of processes")
