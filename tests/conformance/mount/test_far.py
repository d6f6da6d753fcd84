"""Mounts of servers that come and go, and what runs leave behind for the next one."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import pytest

from tvix.castore.digests import Digest, digest_of, print_digest
from tvix.castore.nodes import DirectoryNode
from tvix.castore.transfer.hot_set import Key, decode_keys, encode_keys
from tvix.store.addresses import open_store
from tvix.store.closure import closure_root
from tvix.store.importing import import_path
from tvix.testing.mount_samples import ABSENT

pytestmark = [pytest.mark.root, pytest.mark.fuse]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
DEADLINE = 20.0


class Stored(NamedTuple):
    """A pack store with a tree in it: 40 small files, 6 of 2 MiB."""

    url: str
    root: Digest
    path: str
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Made once; nobody writes to it but recordings."""
    place = tmp_path_factory.mktemp("stored")
    noise = random.Random(5)
    files = {f"d{number % 4}/small-{number:02}": noise.randbytes(300 * number + 1) for number in range(40)}
    files |= {f"large/{number}": noise.randbytes(2 << 20) for number in range(6)}
    for name, contents in files.items():
        file = place / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents)
    url = f"pack:{place}/pack"
    with open_store(url) as store:
        path = import_path(store, place / "tree", "tree").path
        return Stored(url, closure_root(store, [path]), path.basename, files)


class Server:
    """A server that tests end and start again, at the same place.

    Its two sockets are in two directories, so it doesn't offer callers of one the other, unless it is to: by `offers`.
    """

    def __init__(self, store_url: str, place: Path, *, offers: bool = False) -> None:
        called = place / "grpc" if offers else place / "for-grpc/s"
        called.parent.mkdir(parents=True, exist_ok=True)
        self.framed = f"tvix+unix:{place}/framed?deadline={DEADLINE:g}"
        self.grpc = f"grpc+unix:{called}?deadline={DEADLINE:g}"
        self._command: list[str | Path] = [
            sys.executable,
            HERE / "serve_store.py",
            store_url,
            f"tvix+unix:{place}/framed",
            f"unix:{called}",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, cwd=ROOT)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"READY\n"

    def kill(self) -> None:
        """Without a word. Harmless twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


@pytest.fixture
def server(stored: Stored, tmp_path: Path) -> Iterator[Server]:
    """One that runs."""
    server = Server(stored.url, tmp_path)
    server.start()
    yield server
    server.kill()


class Mount:
    """A mount that is there until `end`."""

    def __init__(self, place: Path, *words: object) -> None:
        self.place = place
        place.mkdir()
        command = [sys.executable, "-m", "appliance", "mount", "--json", *map(str, words), str(place)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        assert self._process.stdout is not None
        if b"ready" not in self._process.stdout.readline():
            pytest.fail(str(self._process.communicate()))
        self.pid = self._process.pid

    def stats(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(os.getxattr(self.place, "user.tvix.stats"))
        return found

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        output = self._process.communicate(timeout=20)
        assert self._process.returncode == 0, output

    def kill(self) -> None:
        """With what it had in memory."""
        self._process.kill()
        self._process.communicate()
        subprocess.run(["umount", "-l", self.place], check=False, stderr=subprocess.DEVNULL)

    def end_if_running(self) -> None:
        if self._process.poll() is None:
            self.end()


Mounting = Callable[..., Mount]


@pytest.fixture
def mounting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mounting]:
    """Mounts; what is left at the end is ended."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ExitStack() as stack:
        count = 0

        def mount(*words: object) -> Mount:
            nonlocal count
            count += 1
            made = Mount(tmp_path / f"mnt{count}", *words)
            stack.callback(made.end_if_running)
            return made

        yield mount


def until(condition: Callable[[], object]) -> None:
    """Asking counters is all there is to wait for."""
    end = monotonic() + DEADLINE
    while not condition():
        assert monotonic() < end


def read_all(mount: Mount, stored: Stored) -> None:
    """Every file, and hold it to what was stored."""
    for name, contents in stored.files.items():
        assert (mount.place / stored.path / name).read_bytes() == contents, name


def root_of(stored: Stored) -> str:
    return print_digest(stored.root)


@pytest.mark.parametrize("way", ["framed", "grpc"])
def test_what_a_run_read_is_sent_to_the_next_before_it_asks(stored: Stored, server: Server, mounting: Mounting, way: str) -> None:
    words = ["--near", "none", "--prefetch", "hot", "--store", getattr(server, way), "--root", root_of(stored)]
    names = [f"d1/small-{number:02}" for number in range(1, 40, 4)]
    with open_store(stored.url) as store:
        assert store.hot_sets is not None
        store.hot_sets.put_hot_set(stored.root, "", b"")
    first = mounting(*words)
    for name in names:
        assert (first.place / stored.path / name).read_bytes() == stored.files[name]
    assert first.stats()["keysRecorded"] == len(names)
    first.end()
    with open_store(stored.url) as store:
        assert store.hot_sets is not None
        kept = store.hot_sets.get_hot_set(stored.root, "")
        assert [key.digest for key in decode_keys(kept or b"")] == [digest_of(stored.files[name]) for name in names]
    second = mounting(*words)
    expected = sum(len(stored.files[name]) for name in names)
    until(lambda: second.stats()["bytesPrefetched"] >= expected)
    before = second.stats()["stalls"]
    for name in names:
        assert (second.place / stored.path / name).read_bytes() == stored.files[name]
    assert second.stats()["stalls"] == before, "nothing had to be waited for"


def test_a_run_that_finds_everything_near_records_as_much(stored: Stored, server: Server, mounting: Mounting) -> None:
    words = ["--store", server.framed, "--root", root_of(stored)]
    counts = []
    for _ in range(2):
        mount = mounting(*words)
        read_all(mount, stored)
        counts.append(mount.stats()["keysRecorded"])
        mount.end()
    assert counts[0] >= len(stored.files)
    assert counts[1] == counts[0]


@pytest.mark.parametrize("far", [True, False])
def test_a_program_s_run_is_recorded_under_its_path_far_and_near(
    stored: Stored, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, far: bool
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tree = tmp_path / "tree/bin"
    tree.mkdir(parents=True)
    busybox = Path("/bin/busybox").read_bytes()
    (tree / "cat").write_bytes(busybox)
    (tree / "cat").chmod(0o755)
    (tree / "text").write_text(str(far))
    with open_store(stored.url) as store:
        info = import_path(store, tree.parent, f"busybox-{far}")
    place = Path("/nix/store", info.path.basename, "bin")
    near = ["--near", "none"] if far else []
    words = ["run", *near, "--store", server.framed, f"{place}/cat", f"{place}/text"]
    done = subprocess.run([sys.executable, "-m", "appliance", *words], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stdout, done.returncode) == (str(far), 0), done.stderr
    assert type(info.node) is DirectoryNode
    with open_store(stored.url if far else f"pack:{tmp_path}/cache/tvix/near") as kept:
        assert kept.hot_sets is not None
        keys = list(decode_keys(kept.hot_sets.get_hot_set(info.node.digest, f"{place}/cat") or b""))
    assert digest_of(str(far).encode()) in {key.digest for key in keys}
    assert len(keys) > 1, "the program itself was read, too"


@pytest.mark.parametrize("near", [[], ["--near", "none"]])
def test_a_wrong_record_does_no_harm(stored: Stored, server: Server, mounting: Mounting, near: list[str]) -> None:
    some = digest_of(stored.files["d0/small-04"])
    wrong = [Key(ABSENT), Key(stored.root), Key(some), Key(some, 5, 7), Key(some, 1 << 40), Key(some, 0, 1 << 30), Key(some)]
    with open_store(stored.url) as store:
        assert store.hot_sets is not None
        store.hot_sets.put_hot_set(stored.root, "", encode_keys(wrong))
    mount = mounting(*near, "--store", server.framed, "--root", root_of(stored))
    read_all(mount, stored)
    assert mount.stats()["errors"] == 0


def test_a_server_that_is_killed_and_started_again_under_eight_readers(
    stored: Stored, server: Server, mounting: Mounting, seed: int
) -> None:
    mount = mounting("--near", "none", "--prefetch", "demand", "--store", server.framed, "--root", root_of(stored))
    names = list(stored.files)
    readers = []
    for number in range(8):
        order = random.Random(seed + number).sample(names, len(names))
        paths = [mount.place / stored.path / name for name in order]
        readers.append((order, subprocess.Popen(["sha256sum", *paths], stdout=subprocess.PIPE, stderr=subprocess.PIPE)))
    for _ in range(3):
        server.kill()
        server.start()
    for order, reader in readers:
        output, errors = reader.communicate(timeout=60)
        assert (reader.returncode, errors) == (0, b"")
        assert [line.split()[0].decode() for line in output.splitlines()] == [sha256(stored.files[n]).hexdigest() for n in order]
    assert mount.stats()["connections"] > 1


def test_a_server_that_stays_away_is_an_error_after_the_deadline_and_not_before(
    stored: Stored, server: Server, mounting: Mounting
) -> None:
    url = server.framed.replace(f"{DEADLINE:g}", "1.5")
    mount = mounting("--near", "none", "--prefetch", "none", "--store", url, "--root", root_of(stored))
    file = mount.place / stored.path / "large/1"
    os.stat(file)
    server.kill()
    began = os.times().elapsed
    with pytest.raises(OSError) as failure:  # noqa: PT011 - the errno is looked at
        file.read_bytes()
    assert failure.value.errno == errno.EIO
    assert 1.4 < os.times().elapsed - began < 8
    assert "can't be reached" in str(mount.stats()["lastError"])
    server.start()
    assert file.read_bytes() == stored.files["large/1"]


@pytest.mark.parametrize("way", ["framed", "grpc"])
def test_what_is_near_is_mounted_and_read_while_far_is_away_and_the_rest_once_it_is_back(
    stored: Stored, server: Server, mounting: Mounting, way: str
) -> None:
    words = ["--prefetch", "none", "--store", getattr(server, way), "--root", root_of(stored)]
    first = mounting(*words)
    known = [name for name in stored.files if name != "large/5"]
    for name in known:
        (first.place / stored.path / name).read_bytes()
    first.end()
    server.kill()
    second = mounting(*words)
    for name in known:
        assert (second.place / stored.path / name).read_bytes() == stored.files[name]
    server.start()
    assert (second.place / stored.path / "large/5").read_bytes() == stored.files["large/5"]
    assert second.stats()["errors"] == 0


def test_near_may_be_emptied_under_a_mount(stored: Stored, server: Server, mounting: Mounting, tmp_path: Path) -> None:
    from urllib.parse import quote

    url = f"cache:?near={quote(f'pack:{tmp_path}/near', safe='')}&far={quote(server.framed, safe='')}&max=4M"
    words = ["--prefetch", "none", "--store", url, "--root", root_of(stored)]
    first, second = mounting(*words), mounting(*words)
    for mount in (first, second, mounting(*words)):
        read_all(mount, stored)
    size = sum(file.stat().st_size for file in (tmp_path / "near/packs").iterdir())
    assert size < 12 << 20, "which is less than was read"


@pytest.mark.parametrize("way", ["framed", "grpc"])
def test_what_was_kept_near_outlives_a_mount_that_is_killed(
    stored: Stored, server: Server, mounting: Mounting, tmp_path: Path, way: str
) -> None:
    near = f"pack:{tmp_path}/near"
    words = ["--prefetch", "none", "--store", getattr(server, way), "--root", root_of(stored)]
    first = mounting(*words, "--near", f"{near}?sync=0.1")
    read_all(first, stored)
    with open_store(near) as kept:
        until(lambda: not kept.blobs.missing([digest_of(contents) for contents in stored.files.values()]))
    first.kill()
    server.kill()
    second = mounting(*words, "--near", near)
    read_all(second, stored)


@pytest.mark.parametrize("way", ["framed", "grpc"])
def test_who_is_killed_while_reading_is_let_go(stored: Stored, server: Server, mounting: Mounting, way: str) -> None:
    mount = mounting("--near", "none", "--prefetch", "none", "--store", getattr(server, way))
    file = mount.place / stored.path / "large/3"
    os.stat(file)
    server.kill()
    reader = subprocess.Popen(["cat", file], stdout=subprocess.DEVNULL)
    until(lambda: mount.stats()["waiting"])
    reader.kill()
    assert reader.wait(DEADLINE / 2) == -signal.SIGKILL
    began = monotonic()
    until(lambda: not mount.stats()["waiting"])
    assert monotonic() - began < DEADLINE / 2, "which isn't the deadline"
    server.start()
    assert file.read_bytes() == stored.files["large/3"]
    assert mount.stats()["errors"] == 0


@pytest.mark.parametrize("way", ["framed", "grpc"])
def test_who_is_killed_while_waiting_is_let_go(stored: Stored, server: Server, mounting: Mounting, way: str) -> None:
    mount = mounting("--near", "none", "--prefetch", "none", "--store", getattr(server, way))
    place = mount.place / stored.path
    os.stat(place)  # it is known, and what is in it isn't
    server.kill()
    lister = subprocess.Popen(["ls", place], stdout=subprocess.DEVNULL)
    until(lambda: mount.stats()["waiting"])
    lister.kill()
    assert lister.wait(DEADLINE / 2) == -signal.SIGKILL
    until(lambda: not mount.stats()["waiting"])
    server.start()
    assert sorted(os.listdir(place)) == ["d0", "d1", "d2", "d3", "large"]


def test_grpc_is_loaded_where_nothing_else_is_offered(stored: Stored, server: Server, mounting: Mounting, tmp_path: Path) -> None:
    offering = Server(stored.url, tmp_path / "offering", offers=True)
    offering.start()
    for url, loaded in ((server.framed, False), (server.grpc, True), (offering.grpc, False)):
        mount = mounting("--store", url, "--root", root_of(stored))
        read_all(mount, stored)
        assert ("cygrpc" in Path(f"/proc/{mount.pid}/maps").read_text()) is loaded
    offering.kill()


def test_a_cache_directory_that_can_not_be_written_is_a_warning(
    stored: Stored, server: Server, mounting: Mounting, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("no directory")
    mount = mounting("--store", server.framed, "--root", root_of(stored))
    read_all(mount, stored)
    mount._process.send_signal(signal.SIGTERM)
    _, said = mount._process.communicate(timeout=20)
    assert said.startswith(b"tvix: warning: what is fetched is kept in memory alone: ")
    assert said.count(b"\n") == 1


def test_a_near_end_that_was_asked_for_must_be_there(stored: Stored, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    (tmp_path / "mnt").mkdir()
    words = ["mount", "--near", f"pack:{tmp_path}/file", "--store", server.framed, "--root", root_of(stored), str(tmp_path / "mnt")]
    done = subprocess.run([sys.executable, "-m", "appliance", *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode not in (0, 70)
    assert str(tmp_path / "file") in done.stderr
