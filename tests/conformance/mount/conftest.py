"""Mounts of one sample out of every kind of store, by every engine."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tvix.store.addresses import open_store
from tvix.testing.mount_samples import Sample, fill, sample

HERE = Path(__file__).parent
TVIX = [sys.executable, "-m", "appliance"]

BACKENDS = (
    *("memory", "pack", "grpc", "offered", "framed", "tcp", "v1"),
    *("pyfuse3-pack", "pyfuse3-grpc", "pyfuse3-framed", "pyfuse3-v1", "pyfuse3-nobody"),
)

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
def servers(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of servers of that store, by how they are spoken to: by gRPC, or by what it `offered` instead."""
    place = tmp_path_factory.mktemp("server")
    (place / "grpc").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as another:
        port, offering = free.getsockname()[1], another.getsockname()[1]
    script = [sys.executable, HERE / "serve_store.py", store_url]
    grpc = (f"unix:{place}/grpc/s", f"127.0.0.1:{offering}")
    ours = [*script, *grpc, f"tvix+unix:{place}/framed", f"tvix+tcp://127.0.0.1:{port}"]
    with process(ours), process([*script, "published", f"unix:{place}/v1"]):
        yield {
            "grpc": f"grpc+unix:{place}/grpc/s",
            "offered": f"grpc+http://127.0.0.1:{offering}",
            "framed": f"tvix+unix:{place}/framed",
            "tcp": f"tvix+tcp://127.0.0.1:{port}",
            "v1": f"grpc+unix:{place}/v1",
        }


@pytest.fixture(scope="session")
def server_url(servers: dict[str, str]) -> str:
    """A server that offers everything, over gRPC."""
    return servers["grpc"]


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """What kind of store is mounted, and how."""
    return str(request.param)


@pytest.fixture(scope="module")
def mount_with(backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Mounts with options as the command line has them; only `--list` is known to the store in memory."""
    with ExitStack() as stack:

        def mount(*options: str) -> Path:
            if backend == "pyfuse3-nobody":
                return stack.enter_context(as_nobody(tmp_path_factory.mktemp("nobody"), options))
            place = tmp_path_factory.mktemp("mnt")
            if backend == "memory":
                command = [sys.executable, HERE / "serve_memory.py", place, *(option.strip("-") for option in options)]
            else:
                engine, _, kind = backend.rpartition("-")
                url = request.getfixturevalue("store_url") if kind == "pack" else request.getfixturevalue("servers")[kind]
                near = place.with_name(f"{place.name}-near")
                command = [*TVIX, "mount", "--engine", engine or "fuse", "--store", url, "--near", f"pack:{near}", *options, place]
            stack.enter_context(process(command))
            return place

        yield mount


@contextmanager
def as_nobody(scratch: Path, options: Sequence[str]) -> Iterator[Path]:
    """A mount by an ordinary user, through fusermount3: seen through the root directory of its process, since the device that he
    may open, and the configuration that lets him let us in, are in a mount namespace of their own."""
    subprocess.run(["mknod", scratch / "fuse", "c", "10", "229"], check=True)
    (scratch / "fuse").chmod(0o666)
    (scratch / "fuse.conf").write_text("user_allow_other\n")
    with tempfile.TemporaryDirectory(prefix="tvix-nobody-") as home:  # pytest's own directories are for root alone
        place = Path(home, "mnt")
        place.mkdir()
        with open_store(f"pack:{home}/pack") as store:
            fill(store)
        subprocess.run(["chown", "-R", "65534:65534", home], check=True)
        script = (
            f"mount --bind {scratch}/fuse /dev/fuse && mount --bind {scratch}/fuse.conf /etc/fuse.conf && "
            'exec setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$0" "$@"'
        )
        words = [*TVIX, "mount", "--allow-other", "--store", f"pack:{home}/pack", *options, place]
        with process(["unshare", "-m", "sh", "-c", script, home, *words]) as running:
            yield Path(f"/proc/{running.pid}/root{place}")


@pytest.fixture(scope="module")
def mount(mount_with: Mounted) -> Path:
    """The whole store."""
    return mount_with()


@pytest.fixture
def paths() -> Sample:
    """The store paths of the sample."""
    return sample()
