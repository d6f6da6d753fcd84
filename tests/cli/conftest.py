"""Runs the program as people do: as a process, with a home of its own and nothing of the caller's environment that matters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tvix.testing.stock_nix import StockNix, build_nix_226

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60


@dataclass
class Finished:
    """How a run of the program ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:  # noqa: ANN401
        """What it printed, as one JSON document."""
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[str]:
        """What it printed, by line."""
        return self.stdout.splitlines()


@dataclass
class Tvix:
    """The program with its environment."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = (sys.executable, "-m", "appliance")

    @property
    def command_environment(self) -> dict[str, str]:
        """What the process sees."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "TVIX_", "NO_COLOR"))}
        return {**kept, "HOME": str(self.home), "PYTHONPATH": str(ROOT), "TERM": "dumb", **self.environment}

    def __call__(self, *words: str | Path, status: int = 0, stdin: bytes = b"", user: int | None = None) -> Finished:
        """Run it, and see that it ends with `status`, without a traceback."""
        done = subprocess.run(
            [*self.program, *map(str, words)],
            input=stdin,
            capture_output=True,
            env=self.command_environment,
            timeout=SECONDS,
            user=user,
            group=user,
            extra_groups=None if user is None else (),
        )
        finished = Finished(done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))
        assert "Traceback" not in finished.stderr, finished.stderr
        assert finished.status == status, f"{words}: {finished}"
        return finished

    def fails(self, *words: str | Path, status: int, says: str, stdin: bytes = b"", user: int | None = None) -> Finished:
        """Run it, and see that it says one line of error (and a hint at most), prints nothing, and ends with `status`."""
        finished = self(*words, status=status, stdin=stdin, user=user)
        lines = finished.stderr.splitlines()
        assert lines[0].startswith("tvix: error: "), finished.stderr
        assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("tvix: hint: ")), finished.stderr
        assert says in lines[0], finished.stderr
        assert finished.stdout == ""
        return finished

    @contextmanager
    def serving(self, *words: str | Path) -> Iterator[list[str]]:
        """`tvix store serve --listen 127.0.0.1:0` and `words`; gives the addresses for clients. Ends by SIGTERM, with status 0."""
        command = [*self.program, "store", "serve", "--listen", "127.0.0.1:0", *map(str, words)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, env=self.command_environment, text=True)
        assert server.stdout is not None
        try:
            ready = server.stdout.readline().split()
            assert ready[:1] == ["READY"], ready
            yield ready[1:]
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                assert server.wait(SECONDS) == 0
            finally:
                server.kill()
                server.stdout.close()


@pytest.fixture
def tvix(tmp_path: Path) -> Tvix:
    """The program in a home of its own, with an empty store as its default."""
    home = tmp_path / "home"
    home.mkdir()
    return Tvix(home)


@pytest.fixture
def nix28(tmp_path: Path) -> StockNix:
    """The installed Nix, on a store of its own."""
    return StockNix(tmp_path, os.environ["PATH"])


@pytest.fixture
def nix226(tmp_path: Path) -> StockNix:
    """Debian 13's Nix 2.26, on a store of its own."""
    return StockNix(tmp_path, "/usr/sbin:/usr/bin:/sbin:/bin", chroot=build_nix_226(ROOT / ".cache" / "nix-2.26"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree of every kind of node."""
    tree = tmp_path / "hello"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "hello").write_text("#!/bin/sh\necho hello\n")
    (tree / "bin" / "hello").chmod(0o755)
    (tree / "README").write_text("Read me.\n")
    (tree / "empty").mkdir()
    (tree / "link").symlink_to("bin/hello")
    return tree
