"""Which engine serves a mount, for whom, and what is said where none can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tvix.store.addresses import open_store
from tvix.testing.mount_samples import HELLO, Sample, fill

pytestmark = [pytest.mark.root, pytest.mark.fuse]

ROOT = Path(__file__).parents[3]
TVIX = [sys.executable, "-m", "appliance"]
HIDE = "mount --bind /dev/null /usr/bin/fusermount3 && "
OPEN_DEVICE = 'mount --bind "$FUSE" /dev/fuse && '
BECOME_NOBODY = 'exec setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent "$@"'

AsNobody = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home() -> Iterator[Path]:
    """A place of nobody's with a store and an empty directory."""
    with tempfile.TemporaryDirectory(prefix="tvix-engines-") as scratch:  # pytest's own directories are for root alone
        place = Path(scratch)
        (place / "mnt").mkdir()
        with open_store(f"pack:{place}/pack") as store:
            fill(store)
        subprocess.run(["chown", "-R", "65534:65534", place], check=True)
        yield place


@pytest.fixture
def as_nobody(tmp_path: Path) -> AsNobody:
    """Runs a command as nobody in a mount namespace of its own, after some preparation as root."""
    subprocess.run(["mknod", tmp_path / "fuse", "c", "10", "229"], check=True)
    (tmp_path / "fuse").chmod(0o666)

    def call(before: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "-m", "sh", "-c", before + BECOME_NOBODY, "sh", *words]
        environment = {**os.environ, "FUSE": str(tmp_path / "fuse")}
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)

    return call


def mount(home: Path, *options: str) -> list[str]:
    """The command."""
    return [*TVIX, "mount", "--json", *options, "--store", f"pack:{home}/pack", str(home / "mnt")]


def error_of(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """(identifier, message)."""
    error = json.loads(done.stderr)["error"]
    assert done.returncode == error["exitCode"]
    return error["identifier"], error["message"]


def test_an_ordinary_user_mounts_and_unmounts(as_nobody: AsNobody, home: Path, paths: Sample) -> None:
    script = (
        '"$@" --status "$0/status" --background && cat "$0/mnt/$NAME" && echo && '
        'grep "$0" /proc/self/mounts && fusermount3 -u "$0/mnt" && '
        'while ! grep -q ended "$0/status"; do sleep 0.01; done'
    )
    done = as_nobody(OPEN_DEVICE + f"export NAME={paths.file.basename} && ", "sh", "-c", script, str(home), *mount(home))
    assert done.returncode == 0, done.stderr
    ready, *lines = done.stdout.splitlines()
    assert json.loads(ready)["state"] == "ready"
    assert lines[0] == HELLO.decode()
    assert lines[1].startswith(f"tvix {home}/mnt fuse.tvix ro,nosuid,nodev,")


def test_sigterm_unmounts_for_an_ordinary_user(as_nobody: AsNobody, home: Path, paths: Sample) -> None:
    script = (
        '"$@" --status "$0/status" >/dev/null & while ! grep -q mounted "$0/status"; do sleep 0.01; done; '
        f'exec 3<"$0"/mnt/{paths.large.basename}; kill $!; wait $!; echo $?; grep -c "$0" /proc/self/mounts'
    )
    done = as_nobody(OPEN_DEVICE, "sh", "-c", script, str(home), *mount(home))
    assert done.stdout.split() == ["0", "0"], done.stderr


def test_our_own_loop_is_for_those_who_may_mount(as_nobody: AsNobody, home: Path) -> None:
    assert error_of(as_nobody(OPEN_DEVICE, *mount(home, "--engine", "fuse")))[0] == "mount.not-permitted"


def test_where_none_can_each_says_why(as_nobody: AsNobody, home: Path) -> None:
    identifier, message = error_of(as_nobody(OPEN_DEVICE + HIDE, *mount(home)))
    assert identifier == "mount.no-engine"
    assert "fuse: this process may not mount" in message
    assert "pyfuse3: /usr/bin/fusermount3 is not set-uid root" in message
    identifier, message = error_of(as_nobody("", *mount(home)))
    assert identifier == "mount.no-engine"
    assert message.count("/dev/fuse: Permission denied") == 2


def test_what_fusermount_says_is_passed_on(as_nobody: AsNobody, home: Path) -> None:
    identifier, message = error_of(as_nobody(OPEN_DEVICE, *mount(home, "--allow-other")))
    assert (identifier, "user_allow_other" in message) == ("mount.not-permitted", True)
    identifier, message = error_of(as_nobody(OPEN_DEVICE + f"chown 0:0 {home}/mnt && ", *mount(home)))
    assert (identifier, "write access" in message) == ("mount.not-permitted", True)


def test_a_namespace_that_only_looks_as_if_one_may_mount(as_nobody: AsNobody, home: Path) -> None:
    """Capabilities in a user namespace, but not over the mounts: our loop learns of it from mount(2), and libfuse's fails too."""
    done = as_nobody(OPEN_DEVICE, "unshare", "--user", "--map-root-user", *mount(home))
    assert error_of(done)[0] == "mount.not-permitted"


@pytest.mark.parametrize(("before", "state", "found"), [(OPEN_DEVICE, "ok", "pyfuse3"), (OPEN_DEVICE + HIDE, "missing", "set-uid")])
def test_the_doctor_says_which(as_nobody: AsNobody, before: str, state: str, found: str) -> None:
    done = as_nobody(before, *TVIX, "doctor", "--json")
    (engine,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "engine"]
    assert (engine["state"], found in engine["found"]) == (state, True), engine


def test_the_doctor_tells_root_of_our_own_loop() -> None:
    done = subprocess.run([*TVIX, "doctor", "--json"], capture_output=True, check=True)
    (engine,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "engine"]
    assert (engine["state"], engine["found"].startswith("fuse")) == ("ok", True)
