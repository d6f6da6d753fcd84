"""How a mount begins and ends, what it says of itself, and what it can't be put on."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tvix.castore.digests import parse_digest, print_digest
from tvix.store.addresses import open_store
from tvix.store.closure import closure_root
from tvix.testing.mount_samples import ABSENT, HELLO, LARGE, Sample

pytestmark = [pytest.mark.root, pytest.mark.fuse]

TVIX = [sys.executable, "-m", "appliance"]
ENGINE = ""


@pytest.fixture(params=["fuse", "pyfuse3"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything here holds for each engine."""
    monkeypatch.setattr(request.module, "ENGINE", request.param)
    return str(request.param)


@pytest.fixture(autouse=True)
def nothing_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what another has fetched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def start(store_url: str, *words: object) -> subprocess.Popen[bytes]:
    """A mount that has said READY."""
    command = [*TVIX, "mount", "--engine", ENGINE, "--store", store_url, *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith(b"READY"):
        pytest.fail(str(process.communicate()))
    return process


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Signal it, and say how it ended."""
    process.send_signal(number)
    process.communicate(timeout=20)
    return process.returncode


def fails(store_url: str, *words: object) -> dict[str, object]:
    """The error of a mount that must fail, as `--json` tells it."""
    command = [*TVIX, "mount", "--engine", ENGINE, "--json", "--store", store_url, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    error: dict[str, object] = json.loads(done.stderr)["error"]
    assert done.returncode == error["exitCode"]
    assert done.stdout == ""
    return error


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory."""
    (tmp_path / "mnt").mkdir()
    return tmp_path / "mnt"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts(store_url: str, place: Path, number: int) -> None:
    process = start(store_url, place)
    assert place.is_mount()
    assert end(process, number) == 0
    assert not place.is_mount()


def test_a_busy_mount_is_unmounted_all_the_same(store_url: str, place: Path, paths: Sample) -> None:
    process = start(store_url, place)
    file = os.open(place / paths.large.basename, os.O_RDONLY)
    assert os.read(file, 10) == LARGE[:10]
    assert end(process) == 0
    assert not place.is_mount()
    with suppress(OSError):  # what it belonged to is gone
        os.close(file)


def test_unmounting_ends_the_process(store_url: str, place: Path) -> None:
    process = start(store_url, place)
    subprocess.run(["umount", place], check=True)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_the_end_of_the_parent_unmounts(store_url: str, place: Path, tmp_path: Path) -> None:
    status = tmp_path / "status"
    words = [*TVIX, "mount", "--engine", ENGINE, "--store", store_url, "--status", str(status), str(place)]
    with subprocess.Popen(["sh", "-c", 'trap "" TERM; "$@"; true', "sh", *words], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith(b"READY")
        server = os.pidfd_open(json.loads(status.read_text())["pid"])
        parent.kill()
        ready, _, _ = select.select([server], [], [], 20)
        os.close(server)
    assert ready, "the mount process is still there"
    assert not place.is_mount()


def test_in_the_background_it_outlives_who_started_it(store_url: str, place: Path, paths: Sample) -> None:
    done = subprocess.run(
        [*TVIX, "mount", "--engine", ENGINE, "--store", store_url, "--background", place], capture_output=True, text=True
    )
    try:
        assert done.stdout == f"READY {place}\n"
        assert (place / paths.file.basename).read_bytes() == HELLO
    finally:
        subprocess.run(["umount", place], check=True)


def test_the_status_file_and_the_live_counters(store_url: str, place: Path, paths: Sample, tmp_path: Path) -> None:
    status = tmp_path / "status.json"
    process = start(store_url, "--status", status, place)
    assert json.loads(status.read_text())["state"] == "mounted"
    (place / paths.large.basename).read_bytes()
    done = subprocess.run([*TVIX, "mount", "--stats", place], capture_output=True, check=True)
    live = json.loads(done.stdout)
    assert live["bytesRead"] == len(LARGE)
    assert live["requests"]["read"] >= 1
    assert end(process) == 0
    last = json.loads(status.read_text())
    assert (last["state"], last["bytesRead"], last["pid"]) == ("ended", len(LARGE), process.pid)
    assert list(tmp_path.glob("*.tmp")) == []


def test_far_fetches_are_counted_and_a_closure_comes_in_one_call(server_url: str, place: Path, paths: Sample) -> None:
    process = start(server_url, "--prefetch", "none", place)
    assert sorted(os.listdir(place / paths.deep.basename)) == ["a", "b", "c", "hello", "to-hello"]
    os.listdir(place / paths.deep.basename / "a")
    (place / paths.deep.basename / "hello").read_bytes()
    counters = json.loads(os.getxattr(place, "user.tvix.stats"))
    assert end(process) == 0
    assert len(HELLO) < counters["bytesFetched"] < 1000
    assert counters["roundTrips"] == 3, "a path info, the directories, the blob"


def test_stats_of_what_is_no_mount(place: Path) -> None:
    done = subprocess.run([*TVIX, "mount", "--json", "--stats", place], capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stderr)["error"]["identifier"]) == (66, "cli.not-a-tvix-mount")


def test_a_closure_root_shows_itself_and_nothing_else(store_url: str, place: Path, paths: Sample) -> None:
    with open_store(store_url) as store:
        root = closure_root(store, [paths.deep])
    process = start(store_url, "--root", print_digest(root), place)
    assert set(os.listdir(place)) == {paths.deep.basename, paths.file.basename}
    assert os.getxattr(place, "user.tvix.castore.directory.digest") == print_digest(root).encode()
    with pytest.raises(FileNotFoundError):
        (place / paths.large.basename).lstat()
    assert end(process) == 0


@pytest.mark.parametrize("url", ["store_url", "server_url"])
def test_the_closure_of_a_store_path(url: str, place: Path, paths: Sample, request: pytest.FixtureRequest) -> None:
    process = start(request.getfixturevalue(url), "--closure", paths.deep, place)
    assert set(os.listdir(place)) == {paths.deep.basename, paths.file.basename}
    assert (place / paths.file.basename).read_bytes() == HELLO
    assert end(process) == 0


def test_one_directory(store_url: str, place: Path) -> None:
    digest = "8b5b5d642b646bb8ed504b0862c39413e87e57491497de7bd075953f7b83810e"
    process = start(store_url, "--directory", digest, "--uid-gid", "1000:100", place)
    assert os.listdir(place) == [".keep"]
    status = (place / ".keep").stat()
    assert (status.st_uid, status.st_gid) == (1000, 100)
    assert os.getxattr(place, "user.snix.castore.directory.digest").decode() == print_digest(parse_digest(digest))
    assert end(process) == 0


def test_other_users_are_let_in_on_request(store_url: str, paths: Sample) -> None:
    with tempfile.TemporaryDirectory(prefix="tvix-") as scratch:  # pytest's own directories are for root alone
        place = Path(scratch)
        place.chmod(0o755)
        as_nobody = ["setpriv", "--reuid", "65534", "--clear-groups", "cat", place / paths.file.basename]
        for options, code in (((), 1), (("--allow-other",), 0)):
            process = start(store_url, *options, place)
            assert subprocess.run(as_nobody, capture_output=True).returncode == code
            assert end(process) == 0


def test_what_is_mounted_on_is_refused_where_it_is_unfit(store_url: str, place: Path) -> None:
    assert fails(store_url, place / "none")["identifier"] == "mount.mount-point-missing"
    (place / "file").write_text("")
    assert fails(store_url, place / "file")["identifier"] == "mount.mount-point-unfit"
    assert fails(store_url, place)["identifier"] == "mount.mount-point-unfit"


def test_a_mount_point_in_use_is_refused(store_url: str, place: Path) -> None:
    process = start(store_url, place)
    error = fails(store_url, place)
    assert (error["identifier"], error["exitCode"]) == ("mount.mount-point-in-use", 77)
    assert str(place) in str(error["message"])
    assert end(process) == 0


def test_a_digest_that_the_store_lacks(store_url: str, server_url: str, place: Path) -> None:
    for url in (store_url, server_url):
        error = fails(url, "--root", print_digest(ABSENT), place)
        assert error["exitCode"] == 66
        assert print_digest(ABSENT) in str(error["message"])
    assert fails(store_url, "--root", "blake3-x", place)["exitCode"] == 65
    assert not place.is_mount()


def test_without_the_device_it_says_so(store_url: str, place: Path) -> None:
    words = [*TVIX, "mount", "--engine", ENGINE, "--json", "--store", store_url, str(place)]
    hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh", *words]
    done = subprocess.run(hidden, capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stderr)["error"]["identifier"]) == (69, "mount.no-fuse")


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A server that tests end and start again: (its address, the running ones)."""
    running: list[subprocess.Popen[bytes]] = []
    yield f"grpc+unix:{tmp_path}/s?deadline=3", running  # gRPC looks again once a second
    for server in running:
        kill(server)


def kill(server: subprocess.Popen[bytes]) -> None:
    """End it without a word. Harmless twice."""
    server.kill()
    server.wait()
    assert server.stdout is not None
    server.stdout.close()


def serve(store_url: str, url: str) -> subprocess.Popen[bytes]:
    """A server that answers."""
    listen = "unix:" + url.removeprefix("grpc+unix:").partition("?")[0]
    command = [*TVIX, "store", "serve", "--store", store_url, "--listen", listen]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline().startswith(b"READY")
    return server


def test_a_far_end_that_goes_and_comes(
    store_url: str, restarted: tuple[str, list[subprocess.Popen[bytes]]], place: Path, paths: Sample
) -> None:
    url, running = restarted
    running.append(serve(store_url, url))
    process = start(url, place)
    assert (place / paths.file.basename).read_bytes() == HELLO
    kill(running[0])
    assert (place / paths.file.basename).read_bytes() == HELLO, "what is near can still be read"
    for call in ((place / paths.large.basename).lstat, lambda: os.listdir(place / paths.keep.basename)):
        with pytest.raises(OSError) as failure:  # noqa: PT011 - the errno is looked at
            call()
        assert failure.value.errno == errno.EIO, "neither a hang nor ENOENT"
    running.append(serve(store_url, url))
    assert (place / paths.large.basename).read_bytes() == LARGE
    assert os.listdir(place / paths.keep.basename) == [".keep"]
    assert end(process) == 0


def test_who_waits_for_a_far_end_that_says_nothing_can_be_killed(place: Path, paths: Sample, tmp_path: Path, engine: str) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        process = start(f"grpc+unix:{tmp_path}/mute?deadline=300", place)
        reader = subprocess.Popen(["cat", place / paths.file.basename])
        while not json.loads(os.getxattr(place, "user.tvix.stats"))["waiting"]:
            assert reader.poll() is None
        reader.kill()
        if engine == "fuse":  # libfuse keeps it to itself, and the reader has to wait for the end of the mount
            assert reader.wait(20) == -signal.SIGKILL
        assert end(process) == 0
        assert reader.wait(20) == -signal.SIGKILL
