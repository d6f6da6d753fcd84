"""Mounts of one sample out of every kind of store."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tvix.store.addresses import open_store
from tvix.testing.mount_samples import Sample, fill, sample

HERE = Path(__file__).parent
TVIX = [sys.executable, "-m", "appliance"]

Mounted = Callable[..., "Path"]


@contextmanager
def process(command: list[object]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has said READY; it is ended with SIGTERM, and must end well."""
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, cwd=HERE.parents[2]) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        try:
            assert line.startswith(b"READY"), line
            running.said = line.decode().split()  # type: ignore[attr-defined]
            yield running
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pack store with the sample."""
    url = f"pack:{tmp_path_factory.mktemp('mount')}/pack"
    with open_store(url) as store:
        fill(store)
    return url


@pytest.fixture(scope="session")
def server_url(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of that store."""
    socket = tmp_path_factory.mktemp("server") / "s"
    with process([*TVIX, "store", "serve", "--store", store_url, "--listen", f"unix:{socket}"]):
        yield f"grpc+unix:{socket}"


@pytest.fixture(scope="module", params=["memory", "pack", "grpc"])
def backend(request: pytest.FixtureRequest) -> str:
    """What kind of store is mounted."""
    return str(request.param)


@pytest.fixture(scope="module")
def mount_with(backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Mounts with options as the command line has them; only `--list` is known to the store in memory."""
    with ExitStack() as stack:

        def mount(*options: str) -> Path:
            place = tmp_path_factory.mktemp("mnt")
            if backend == "memory":
                command = [sys.executable, HERE / "serve_memory.py", place, *(option.strip("-") for option in options)]
            else:
                url = request.getfixturevalue("store_url" if backend == "pack" else "server_url")
                command = [*TVIX, "mount", "--store", url, *options, place]
            stack.enter_context(process(command))
            return place

        yield mount


@pytest.fixture(scope="module")
def mount(mount_with: Mounted) -> Path:
    """The whole store."""
    return mount_with()


@pytest.fixture
def paths() -> Sample:
    """The store paths of the sample."""
    return sample()
