"""`tvix run`: a program out of a store, in namespaces of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tvix.store.addresses import open_store
from tvix.store.importing import import_path

pytestmark = [pytest.mark.root, pytest.mark.fuse]

ROOT = Path(__file__).parents[3]
TVIX = [sys.executable, "-m", "appliance"]
# A private /dev/fuse that everybody may open, as distributions have it, and a user who is nobody.
AS_NOBODY = 'mount --bind "$FUSE" /dev/fuse && exec setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent "$@"'
WITHOUT_NIX = 'mkdir -p /nix && mount -t tmpfs none /nix && exec "$@"'

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def busybox() -> Iterator[tuple[str, str]]:
    """(address of a store that everybody may read, store path of a static busybox)."""
    with tempfile.TemporaryDirectory(prefix="tvix-run-") as scratch:  # pytest's own directories are for root alone
        place = Path(scratch)
        place.chmod(0o755)
        tree = place / "tree/bin"
        tree.mkdir(parents=True)
        (tree / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
        (tree / "busybox").chmod(0o755)
        (tree / "sh").symlink_to("busybox")
        (tree / "plain").write_text("no program")
        (tree / "lost").write_text("#!/nonexistent/interpreter\n")
        (tree / "lost").chmod(0o755)
        url = f"pack:{place}/pack"
        with open_store(url) as store:
            path = import_path(store, place / "tree", "busybox").path
        subprocess.run(["chown", "-R", "65534", place / "pack"], check=True)
        yield url, str(path)


@pytest.fixture(scope="session")
def fuse_for_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device node of FUSE's with mode 0666."""
    node = tmp_path_factory.mktemp("dev") / "fuse"
    subprocess.run(["mknod", node, "c", "10", "229"], check=True)
    node.chmod(0o666)
    return node


@pytest.fixture(params=["root", "nobody", "root-without-nix", "nobody-without-nix"])
def run(request: pytest.FixtureRequest, busybox: tuple[str, str], fuse_for_all: Path) -> Run:
    """Runs a program of the store with arguments, as several users on several hosts."""
    url, path = busybox
    who, _, where = request.param.partition("-")
    prefix: list[str] = []
    if where:
        prefix += ["sh", "-c", WITHOUT_NIX, "sh"]
    if who == "nobody":
        prefix += ["sh", "-c", AS_NOBODY, "sh"]
    if prefix:
        prefix = ["unshare", "-m", *prefix]

    def call(program: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        command = [*prefix, *TVIX, "run", "--store", url, f"{path}/{program}", *arguments]
        environment = {**os.environ, "FUSE": str(fuse_for_all)}
        settings = {"capture_output": True, "text": True, "cwd": ROOT, "env": environment, "timeout": 60, **options}
        return subprocess.run(command, **settings)  # type: ignore[call-overload,no-any-return]

    return call


def test_it_runs(run: Run) -> None:
    done = run("bin/busybox", "sh", "-c", 'echo "$0" "$@"; exit 7', "a", "b c")
    assert (done.stdout, done.returncode) == ("a b c\n", 7), done.stderr


def test_the_store_is_mounted_and_the_host_is_there(run: Run, busybox: tuple[str, str]) -> None:
    script = f"for place in {busybox[1]} /etc/passwd /tmp/.; do [ -e $place ] && echo $place; done; pwd; cat /proc/mounts"
    lines = run("bin/sh", "-c", script).stdout.splitlines()
    assert lines[:4] == [busybox[1], "/etc/passwd", "/tmp/.", str(ROOT)]
    assert any(line.startswith("tvix /nix/store fuse.tvix ro,") for line in lines)


def test_stdin_goes_in(run: Run) -> None:
    assert run("bin/busybox", "cat", input="in and out").stdout == "in and out"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_is_128_and_its_number(run: Run, number: int) -> None:
    assert run("bin/sh", "-c", f"kill -{int(number)} $$").returncode == 128 + number


def test_what_can_not_be_run(run: Run) -> None:
    missing = run("bin/nope")
    assert (missing.returncode, "is not in the store" in missing.stderr) == (127, True)
    plain = run("bin/plain")
    assert (plain.returncode, "Permission denied" in plain.stderr) == (126, True)
    lost = run("bin/lost")
    assert (lost.returncode, "interpreter" in lost.stderr) == (126, True)


def test_nothing_is_left_behind(busybox: tuple[str, str], tmp_path: Path) -> None:
    """Seen in a mount namespace of its own, where nobody else mounts meanwhile."""
    url, path = busybox
    look = f"cat /proc/self/mountinfo >{tmp_path}"
    words = [*TVIX, "run", "--store", url, f"{path}/bin/sh", "-c", "echo $PPID"]
    script = ["unshare", "-m", "sh", "-c", f'{look}/before; "$@"; {look}/after', "sh", *words]
    done = subprocess.run(script, capture_output=True, text=True)
    parent = int(done.stdout)
    assert not Path(f"/proc/{parent}").exists()
    assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()
    assert not _serving(url)


def test_the_mount_process_goes_when_tvix_is_killed(busybox: tuple[str, str]) -> None:
    url, path = busybox
    command = [*TVIX, "run", "--store", url, f"{path}/bin/sh", "-c", "echo up; read x; sleep 100"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        others = [os.pidfd_open(pid) for pid in _serving(url) if pid != running.pid]
        assert others
        running.kill()
        for other in others:
            assert _ends(other)


def test_sigterm_reaches_the_program(busybox: tuple[str, str]) -> None:
    url, path = busybox
    script = 'trap "echo caught; exit 3" TERM; echo up; while :; do sleep 0.01; done'
    command = [*TVIX, "run", "--store", url, f"{path}/bin/sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        running.terminate()
        assert running.stdout.readline() == b"caught\n"
        assert running.wait(20) == 3


def test_ctrl_c_on_a_terminal_is_the_program_s(busybox: tuple[str, str]) -> None:
    url, path = busybox
    script = 'trap "echo caught; exit 5" INT; [ -t 0 ] && echo up; while :; do sleep 0.01; done'
    master, slave = pty.openpty()
    command = ["setsid", "--ctty", *TVIX, "run", "--store", url, f"{path}/bin/sh", "-c", script]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT) as running:
        os.close(slave)
        said = b""
        while b"up" not in said:
            said += os.read(master, 100)
        os.write(master, b"\x03")
        assert running.wait(20) == 5
        assert b"caught" in os.read(master, 100)
    os.close(master)


def _serving(url: str) -> list[int]:
    """Processes that were started with this store's address."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if url.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _ends(process: int) -> bool:
    import select

    ready, _, _ = select.select([process], [], [], 20)
    os.close(process)
    return bool(ready)
