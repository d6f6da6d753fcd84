"""Stores served in one namespace and used in another, with a network of some shape between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from simulator import SERVER, Network

TVIX = Path(sys.executable).with_name("tvix")
SCHEMES = ("grpc+http", "tvix+tcp")


class Sample(NamedTuple):
    """A tree on disk, and where it is in a store."""

    tree: Path
    url: str
    path: str


class Served(NamedTuple):
    """A network, and the address of the store at its other end."""

    network: Network
    url: str

    def tvix(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run our program on the client's side."""
        command = self.network.inside(self.network.client, TVIX, *words)
        return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Sixty small files, a large one that compresses and one that doesn't: 7 MB."""
    work = tmp_path_factory.mktemp("network")
    tree = work / "tree"
    random = Random(4)
    for number in range(60):
        file = tree / f"d{number % 7}" / f"f{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(random.randbytes(random.randrange(20_000)))
    (tree / "random").write_bytes(random.randbytes(3 << 20))
    (tree / "text").write_bytes(b"".join(b"line %d of a long text\n" % number for number in range(150_000)))
    url = f"pack:{work}/store"
    done = subprocess.run([TVIX, "store", "import", "--store", url, tree], capture_output=True, text=True, check=True)
    return Sample(tree, url, done.stdout.strip())


@pytest.fixture
def serve() -> Callable[..., object]:
    """`with serve(network, scheme, store) as served`."""
    return _serve


@contextmanager
def _serve(network: Network, scheme: str, store: str, *, insecure: str = "--insecure") -> Iterator[Served]:
    with network, _server(network, scheme, store, insecure) as url:
        yield Served(network, url)


@contextmanager
def _server(network: Network, scheme: str, store: str, insecure: str) -> Iterator[str]:
    listen = f"{SERVER}:0" if scheme == "grpc+http" else f"{scheme}://{SERVER}:0"
    words = ["store", "serve", "--store", store, "--listen", listen, insecure, "--json", "--progress", "quiet"]
    with subprocess.Popen(network.inside(network.server, TVIX, *words), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["addresses"][0]
        finally:
            process.terminate()
            process.communicate()


@contextmanager
def mounted(served: Served, place: Path, *words: str, options: str = "") -> Iterator[Path]:
    """A mount, made on the client's side, of the served store."""
    place.mkdir(exist_ok=True)
    command = [TVIX, "mount", "--store", served.url + options, "--near", "memory:", "--prefetch", "none", *words, place]
    inside = served.network.inside(served.network.client, *command)
    with subprocess.Popen(inside, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("READY")
            yield place
        finally:
            process.terminate()
            process.communicate()
            if os.path.ismount(place):
                subprocess.run(["umount", "-l", place], check=False)
