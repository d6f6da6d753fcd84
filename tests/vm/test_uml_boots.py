"""Boots of user-mode Linux: every way to succeed, every way to fail, by what PID 1 says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import harness
import pytest
from harness import STATIC, STORE

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Closure
    from harness import Machine, Namespace

    Boot = Callable[..., Machine]

pytestmark = [pytest.mark.vm, pytest.mark.root]

OFF = "tvix.on-failure=poweroff"
WRONG_ROOT = "tvix.root=blake3-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.mark.usefixtures("server")
class TestWithAStore:
    """Boots that find their store."""

    @pytest.mark.usefixtures("dhcp")
    def test_dhcp_and_a_program(self, boot: Boot, closure: Closure) -> None:
        store = f"tvix.store=grpc+http://{harness.NAME}:{harness.PORT}"
        machine = boot(store, f"tvix.root={closure.root}", closure.run("echo", "out", "of", "the", "store"), OFF)
        assert {**machine.finish(), "t": 0} == {"t": 0, "step": "end", "outcome": "ok", "exit": 0}
        (link,) = machine.step("network")["links"]
        assert link["link"] == harness.LINK
        assert link["address"].startswith("10.77.0.")
        assert (link["gateway"], link["resolvers"]) == (harness.HOST, [harness.HOST])
        assert b"out of the store" in machine.output
        fetched = machine.step("stats")["mount"]["bytesFetched"]
        assert 1 << 20 < fetched < 4 << 20, "busybox is fetched, the large file isn't"

    def test_static_address(self, boot: Boot, closure: Closure) -> None:
        machine = boot(STATIC, f"tvix.store={STORE}", f"tvix.root={closure.root}", closure.run("hostname"), OFF)
        assert machine.finish()["outcome"] == "ok"
        assert machine.step("network")["links"] == [
            {"link": harness.LINK, "address": "10.77.0.9/24", "gateway": harness.HOST, "resolvers": [harness.HOST]}
        ]
        assert b"guest" in machine.output

    def test_exit_status_is_reported(self, boot: Boot, closure: Closure) -> None:
        machine = boot(STATIC, f"tvix.store={STORE}", f"tvix.root={closure.root}", closure.run("sh", "-c", "exit${IFS}7"))
        end = machine.finish()
        assert (end["outcome"], end["exit"]) == ("program-failed", 7)

    def test_trusted_closure(self, boot: Boot, closure: Closure) -> None:
        machine = boot(STATIC, f"tvix.store={STORE}", f"tvix.closure={closure.large}", "tvix.trust=any", "snix.find", OFF)
        assert machine.finish()["outcome"] == "ok"
        found = [line for line in machine.output.replace(b"\r", b"").decode().splitlines() if line.startswith("/nix/store")]
        assert found == ["/nix/store", closure.large, f"{closure.large}/word", f"{closure.large}/zeros"]
        assert machine.step("find")["paths"] == 4
        assert machine.step("stats")["mount"]["bytesFetched"] < 10_000

    def test_wrong_pinned_root(self, boot: Boot, closure: Closure) -> None:
        machine = boot(STATIC, f"tvix.store={STORE}", WRONG_ROOT, closure.run("true"), OFF)
        end = machine.finish()
        assert end["outcome"] == "failed"
        assert end["exit"] != 0
        assert WRONG_ROOT.partition("=")[2] in machine.step("mount", "fail")["error"]

    @pytest.mark.parametrize(
        ("program", "word", "identifier"),
        [
            ("missing", "is not there", "boot.no-such-program"),
            ("plain", "not marked executable", "boot.not-executable"),
            ("lost", "00000000000000000000000000000000-nothing/bin/sh", "boot.no-interpreter"),
        ],
    )
    def test_program_that_cannot_run(self, boot: Boot, closure: Closure, program: str, word: str, identifier: str) -> None:
        machine = boot(STATIC, f"tvix.store={STORE}", f"tvix.root={closure.root}", f"tvix.run={closure.scripts}/{program}", OFF)
        assert machine.finish()["outcome"] == "failed"
        failure = machine.step("run", "fail")
        assert word in failure["error"]
        assert failure["id"] == identifier
        assert machine.step("stats")["mount"]["lastError"] == "", "the store has done nothing wrong"

    def test_orphans_are_reaped(self, boot: Boot, closure: Closure) -> None:
        machine = boot(STATIC, f"tvix.store={STORE}", f"tvix.root={closure.root}", f"tvix.run={closure.scripts}/orphans", OFF)
        assert machine.finish()["exit"] == 0, "9: a process has ended, and nobody has asked how"

    def test_shell(self, boot: Boot, closure: Closure) -> None:
        machine = boot(STATIC, f"tvix.store={STORE}", f"tvix.root={closure.root}", "tvix.shell", OFF)
        machine.wait_for_step("shell", "start")
        machine.type(f"ls {closure.large}; exit 5\n")
        assert machine.finish()["exit"] == 5
        assert b"zeros" in machine.output

    @pytest.mark.usefixtures("dhcp")
    @pytest.mark.parametrize(("address", "spared"), [(STATIC, 1), ("ip=dhcp", 2)])
    def test_hand_over(self, boot: Boot, closure: Closure, address: str, spared: int) -> None:
        """init is PID 1, reads from the store through the mount that lives on, and switches the machine off."""
        machine = boot(address, f"tvix.store={STORE}", f"tvix.root={closure.root}", f"init={closure.scripts}/init", "--", "one")
        end = machine.finish()
        assert (end["outcome"], end["exit"]) == ("handed-over", 0)
        assert b"init: pid 1 args one" in machine.output
        assert b"read lazily after the hand-over" in machine.output
        assert machine.output.count(b"spared: ") == spared, "the mount process and the lease keeper, which systemd must not kill"

    @pytest.mark.parametrize("init", ["missing", "dynamic", "plain"])
    def test_hand_over_to_what_cannot_run(self, boot: Boot, closure: Closure, init: str) -> None:
        """Found out before the point of no return: the dynamic program's loader is in the initrd, and not in the new root."""
        machine = boot(STATIC, f"tvix.store={STORE}", f"tvix.root={closure.root}", f"init={closure.scripts}/{init}", OFF)
        assert machine.finish()["outcome"] == "failed"
        assert machine.step("hand-over", "fail")["error"]

    def test_rescue_prompt(self, boot: Boot, closure: Closure) -> None:
        machine = boot(STATIC, f"tvix.store={STORE}", f"tvix.root={closure.root}", f"tvix.run={closure.scripts}/missing")
        machine.wait_for_step("rescue", "start")
        for command, answer in (
            ("help", b"run PROGRAM ARGS"),
            ("nonsense", b"there is no such command"),
            ("ip", b"10.77.0.9"),
            ("mount", b"/nix/store fuse.tvix"),
            (f"run {closure.busybox}/bin/busybox uname", b"exit status 0"),
            ("run /nowhere", b"/nowhere is not there"),
            ("log", b"kernel: "),
        ):
            machine.type(f"{command}\n")
            machine.wait_for_text(answer)
        first = machine.step("run", "fail")
        machine.type("retry\n")
        machine.wait_for(lambda line: line["step"] == "run" and line["t"] > first["t"] and line["state"] == "fail")
        machine.type("off\n")
        end = machine.finish()
        assert (end["outcome"], end["exit"]) == ("failed", 66)

    def test_end_of_input_at_the_prompt_is_off(self, boot: Boot) -> None:
        machine = boot("tvix.run=/nowhere")
        machine.wait_for_step("rescue", "start")
        machine.type("\x04")
        assert machine.finish()["outcome"] == "failed"


@pytest.mark.parametrize("seconds", [20])
def test_server_that_comes_late(boot: Boot, namespace: Namespace, closure: Closure, store: str, seconds: int) -> None:
    """Missing for a while within the deadline: the boot waits, and goes on. The server starts once the machine asks for it."""
    port = harness.PORT + 1
    words = (f"tvix.store=grpc+http://{harness.HOST}:{port}?deadline={seconds * 10}", f"tvix.root={closure.root}")
    machine = boot(STATIC, *words, closure.run("echo", "late"), OFF)
    started = machine.wait_for_step("mount", "start")["t"]
    machine.stay_for(seconds)
    server = harness.Server(namespace, store, port)
    try:
        assert machine.finish()["outcome"] == "ok"
        assert machine.step("mount")["t"] - started >= seconds - 1
    finally:
        server.close()


def test_server_that_never_comes(boot: Boot, closure: Closure) -> None:
    machine = boot(
        STATIC, f"tvix.store=grpc+http://{harness.HOST}:9?deadline=2", f"tvix.root={closure.root}", closure.run("true"), OFF
    )
    assert machine.finish()["exit"] == 69
    failure = machine.step("mount", "fail")
    assert "can't be reached" in failure["error"]
    assert failure["hint"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["tvix.rot=x"], "tvix.rot is not a key (did you mean tvix.root?)"),
        (["tvix.find", "tvix.store=memory:", "tvix.closure=/nix/store/x"], "add tvix.trust=any"),
        (["tvix.find", "tvix.store=memory:", WRONG_ROOT, "ip=1.2.3"], "1.2.3 is not an IPv4 address"),
    ],
)
def test_command_lines_that_make_no_sense(boot: Boot, words: list[str], error: str) -> None:
    machine = boot(*words, OFF)
    end = machine.finish()
    assert (end["outcome"], end["exit"]) == ("failed", 64)
    failure = machine.step("command-line", "fail")
    assert error in failure["error"]
    assert failure["hint"]


@pytest.mark.parametrize(("lie", "step", "word"), [("root", "mount", "refused"), ("blobs", "run", "Input/output error")])
def test_server_that_lies(boot: Boot, namespace: Namespace, closure: Closure, store: str, lie: str, step: str, word: str) -> None:
    """Nothing that doesn't hash to the pinned root is run: a root with something missing, contents with one bit changed."""
    port = harness.PORT + 2
    server = harness.Server(namespace, store, port, lie)
    try:
        words = (f"tvix.store=grpc+http://{harness.HOST}:{port}", f"tvix.root={closure.root}", closure.run("echo", "fooled"))
        machine = boot(STATIC, *words, OFF)
        assert machine.finish()["outcome"] == "failed"
        assert word in machine.step(step, "fail")["error"]
        assert b"fooled\r\n" not in machine.output
        if lie == "blobs":
            assert "refused" in machine.step("stats")["mount"]["lastError"]
    finally:
        server.close()


@pytest.mark.usefixtures("server")
def test_pid_1_stays_light_to_the_end(boot: Boot, closure: Closure) -> None:
    """What the frozen PID 1 has imported after a whole boot: the sources are held to a longer list by tests/unit/boot."""
    machine = boot(STATIC, f"tvix.store={STORE}", f"tvix.root={closure.root}", closure.run("true"), OFF, "tvix.debug")
    assert machine.finish()["outcome"] == "ok"
    (line,) = (line for line in machine.output.splitlines() if line.startswith(b"# ") and b" imported: " in line)
    imported = {name.partition(".")[0] for name in line.partition(b": ")[2].decode().split()}
    assert "appliance" in imported
    assert not imported & {"asyncio", "google", "grpc", "inspect", "logging", "socket", "ssl", "trio", "typing"}
