"""Resolved code on disk: what is kept, what is ignored, and that nobody's writing spoils another's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tvix.eval.code_pack import CodePack
from tvix.eval.evaluator import Evaluator, Settings
from tvix.eval.io_files import FileIO

ROOT = Path(__file__).resolve().parents[3]
CODE = (0, "ä", (1, 2.5, None, b"later"))


def packs(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.code"))


def keep(directory: Path, *names: str) -> None:
    pack = CodePack(str(directory))
    for name in names:
        pack.put("c", name.encode(), (0, name))
    pack.close()


def kept(directory: Path, name: str) -> object:
    return CodePack(str(directory)).get("c", name.encode())


def test_what_is_put_is_there_in_the_next_run(tmp_path: Path) -> None:
    pack = CodePack(str(tmp_path / "a/b"))
    assert pack.get("c", b"text") is None
    pack.put("c", b"text", CODE)
    assert pack.get("c", b"text") == CODE
    pack.close()
    assert CodePack(str(tmp_path / "a/b")).get("c", b"text") == CODE


def test_other_contents_and_other_circumstances_are_something_else(tmp_path: Path) -> None:
    keep(tmp_path, "text")
    pack = CodePack(str(tmp_path))
    assert pack.get("c", b"text ") is None
    assert pack.get("d", b"text") is None
    assert pack.get("c", b"text") == (0, "text")


def test_many_entries_are_all_found(tmp_path: Path) -> None:
    names = [str(number) for number in range(3000)]
    keep(tmp_path, *names)
    pack = CodePack(str(tmp_path))
    assert [pack.get("c", name.encode()) for name in names] == [(0, name) for name in names]
    assert pack.get("c", b"another") is None


@pytest.mark.parametrize("spoil", ["cut", "noise", "empty", "magic", "text"])
def test_a_spoilt_pack_is_as_good_as_none(tmp_path: Path, spoil: str) -> None:
    keep(tmp_path, "text")
    (path,) = packs(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut": whole[:-3],
            "noise": whole[:-3] + b"\xff\xff\xff",
            "empty": b"",
            "magic": b"x" + whole[1:],
            "text": b"not a pack\n" * 100,
        }[spoil]
    )
    assert kept(tmp_path, "text") is None
    keep(tmp_path, "text")
    assert kept(tmp_path, "text") == (0, "text")


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    keep(tmp_path, "text")
    (path,) = packs(tmp_path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        assert kept(tmp_path, "text") in (None, (0, "text"))


@pytest.mark.root
def test_somebody_elses_pack_is_not_read(tmp_path: Path) -> None:
    keep(tmp_path, "text")
    (path,) = packs(tmp_path)
    os.chown(path, 12345, 12345)
    assert kept(tmp_path, "text") is None


def test_a_directory_that_cannot_be_written_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    keep(tmp_path / "file/below", "text")
    assert kept(tmp_path / "file/below", "text") is None


def test_small_packs_come_together_and_nothing_is_lost(tmp_path: Path) -> None:
    names = [f"text {number}" for number in range(30)]
    for name in names:
        keep(tmp_path, name)
    assert len(packs(tmp_path)) <= 13
    assert [kept(tmp_path, name) for name in names] == [(0, name) for name in names]


def test_the_oldest_go_first_where_there_is_no_room(tmp_path: Path) -> None:
    for name in ("old", "new"):
        pack = CodePack(str(tmp_path), max_bytes=15_000)
        pack.put("c", name.encode(), (0, name * 3000))
        pack.close()
    assert kept(tmp_path, "old") is None
    assert kept(tmp_path, "new") == (0, "new" * 3000)


WRITER = """
import sys
from tvix.eval.code_pack import CodePack
for round in range(int(sys.argv[3])):
    pack = CodePack(sys.argv[1])
    pack.put("c", f"{sys.argv[2]} {round}".encode(), (0, sys.argv[2], "x" * 1000))
    pack.close()
    print(round, flush=True)
"""


def writer(directory: Path, name: str, rounds: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(directory), name, str(rounds)], cwd=ROOT, stdout=subprocess.PIPE)


def test_several_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [writer(tmp_path, name, 25) for name in "abc"]
    assert [each.wait() for each in writers] == [0, 0, 0]
    for each in writers:
        assert each.stdout is not None
        each.stdout.close()
    for name in "abc":
        for number in range(25):
            assert kept(tmp_path, f"{name} {number}") == (0, name, "x" * 1000)


def test_a_writer_that_is_killed_spoils_nothing(tmp_path: Path) -> None:
    for number in range(5):
        each = writer(tmp_path, str(number), 10_000)
        assert each.stdout is not None
        done = [each.stdout.readline() for _ in range(10 + number)]
        each.send_signal(signal.SIGKILL)
        each.wait()
        each.stdout.close()
        for line in done:
            assert kept(tmp_path, f"{number} {int(line)}") == (0, str(number), "x" * 1000)


def test_code_that_was_kept_gives_the_same_value(tmp_path: Path) -> None:
    program = tmp_path / "program.nix"
    program.write_text(
        "let f = { a, b ? 2, ... }@all: a + b; "
        "in { x = f { a = 1; c = 3; }; y = 1; z = 2; v = 3; w = 4; u = rec { p = 5; q = p; }; }.x"
    )
    values = []
    for _ in range(2):
        settings = Settings()
        settings.code_files = pack = CodePack(str(tmp_path / "cache"))
        evaluator = Evaluator(FileIO(), settings)
        with evaluator.session():
            values.append(evaluator.file(str(program)))
        pack.close()
    assert values == [3, 3]
    assert len(packs(tmp_path / "cache")) == 1
