"""A server that is killed while clients import into it: what it acknowledged is there, and what is there verifies.

The instant is a number of bytes and calls into the import rather than a time, so that a seed replays it: a relay in front of the
server counts what clients send and kills it at the given byte.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from tvix.castore.blobs.interface import StoreUnavailable
from tvix.errors import TvixError
from tvix.store.addresses import open_store
from tvix.store.importing import import_path
from tvix.store.store import Store
from tvix.store.verify import verify_store
from tvix.testing.blobs_conformance import noise
from tvix.testing.trees import make_tree

SERVER = Path(__file__).parent / "killed_server.py"
INSTANTS = 100
TREES = 6
SENT_BYTES = 1_850_000  # by one run


class Site:
    """A server of a pack store behind a relay that kills it once `budget` bytes have been sent to it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = ""
        self.budget = 1 << 60
        self.process: subprocess.Popen[str] | None = None
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(f"{place}/relay")
        self._listening.listen()
        Thread(target=self._accept, daemon=True).start()

    def up(self, store: str) -> None:
        self.store = f"pack:{self.place}/{store}"
        command = [sys.executable, str(SERVER), self.store, f"tvix+unix:{self.place}/server"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def close(self) -> None:
        self.kill()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _address = self._listening.accept()
                Thread(target=self._relay, args=(connection,), daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far, suppress(OSError):
            far.connect(f"{self.place}/server")
            Thread(target=_pump, args=(far, near), daemon=True).start()
            while data := near.recv(4096):
                self.budget -= len(data)
                if self.budget < 0:
                    assert self.process is not None
                    os.kill(self.process.pid, signal.SIGKILL)
                    return
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small files, a few of them shared, and one large one each."""
    place = tmp_path_factory.mktemp("trees")
    listed = []
    for number in range(TREES):
        entries: dict[bytes, bytes] = {b"%d" % n: b"%d of %d" % (n, number) * 20 for n in range(60)}
        entries |= {b"shared": b"the same everywhere" * 100, b"large": noise(300_000, number)}
        listed.append(make_tree(place / f"tree-{number}", entries))
    return listed


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.fixture
def instants(seed: int, soak: bool) -> list[int]:
    chosen = random.Random(seed).sample(range(SENT_BYTES), INSTANTS)
    return sorted(chosen if soak else chosen[: INSTANTS // 10])


def import_until_it_dies(store: Store, trees: list[Path]) -> tuple[list[object], Exception | None]:
    """The path infos that were acknowledged, and what ended it."""
    done: list[object] = []
    for tree in trees:
        try:
            done.append(import_path(store, tree))
        except StoreUnavailable as error:
            return done, error
    return done, None


@pytest.mark.soak
@pytest.mark.parametrize("distant", [False, True], ids=["streamed", "in chunks"])
def test_what_was_acknowledged_is_there(site: Site, trees: list[Path], instants: list[int], distant: bool) -> None:
    survived = 0
    for instant in instants[:: 2 if distant else 1]:
        site.up(f"{instant}")
        site.budget = instant
        client = open_store(f"tvix+unix:{site.place}/relay?deadline=0.2")
        client.blobs._channel.distant = distant  # type: ignore[attr-defined]
        done, error = import_until_it_dies(client, trees)
        survived += error is None
        with suppress(TvixError):
            client.close()
        site.kill()
        with open_store(site.store) as store:
            for info in done:
                assert store.path_infos.get_many([info.path.digest])[info.path.digest] == info  # type: ignore[attr-defined]
                assert store.path_infos.calculate_nar(info.node).sha256 == info.nar_sha256  # type: ignore[attr-defined]
            assert not verify_store(store, check_contents=True).problems
    assert survived <= len(instants) // 4  # most of them did die
    site.up(f"{instants[0]}")
    site.budget = 1 << 60
    with open_store(f"tvix+unix:{site.place}/relay") as client:
        assert import_until_it_dies(client, trees)[1] is None  # what was interrupted can simply be repeated
