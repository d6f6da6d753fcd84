"""What can be seen of an evaluation beside its value, on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Tvix

FIB = "let fib = n: if n < 2 then n else fib (n - 1) + fib (n - 2); in map fib [ 10 ]"


def test_stats(tvix: Tvix) -> None:
    done = tvix("eval", "--strict", "--stats", "-E", FIB)
    numbers = json.loads(done.stderr)
    assert done.stdout == "[ 55 ]\n"
    assert (numbers["nrFunctionCalls"], numbers["primops"]) == (177, {"map": 1})
    assert numbers["functions"] == [{"name": "fib", "at": "«string»:1:11", "count": 177}]
    assert 0 < numbers["cpuTime"] == numbers["time"]["cpu"]
    assert numbers["memory"]["peakBytes"] > 1 << 20


def test_stats_of_nix_instantiate(tvix: Tvix, tmp_path: Path) -> None:
    tvix.environment["NIX_SHOW_STATS"] = "1"
    numbers = json.loads(tvix("nix-instantiate", "--eval", "--strict", "-E", FIB).stderr)
    assert numbers["nrFunctionCalls"] == 177
    assert "functions" not in numbers
    tvix.environment |= {"NIX_SHOW_STATS_PATH": str(tmp_path / "stats"), "NIX_COUNT_CALLS": "1"}
    assert tvix("nix-instantiate", "--eval", "-E", "1").stderr == ""
    assert json.loads((tmp_path / "stats").read_text())["primops"] == {}
    tvix.environment["NIX_SHOW_STATS"] = "0"
    assert tvix("nix-instantiate", "--eval", "-E", "1").stderr == ""


def test_profile(tvix: Tvix, tmp_path: Path) -> None:
    file = tmp_path / "profile"
    program = FIB.replace("10", "16")
    assert tvix("eval", "--strict", "--profile", file, "-E", program).stdout == "[ 987 ]\n"
    stacks = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines())
    assert int(stacks["fib «string»:1:11"]) > 0
    tvix("eval", "--profile", file, "-E", 'throw "no"', status=65)
    assert "fib" not in file.read_text()
    assert "nope" in tvix("eval", "--profile", tmp_path / "nope" / "profile", "-E", "1", status=66).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "profile"]


def test_steps_and_all_at_once(tvix: Tvix, tmp_path: Path) -> None:
    done = tvix("eval", "--trace-steps", "--stats", "--profile", tmp_path / "profile", "-E", "(x: x + 1) 2")
    assert done.stdout == "3\n"
    assert done.stderr.startswith(
        "call «string»:1:1\n  function (anonymous) «string»:1:2\n    + «string»:1:7\n    = 3\n  = 3\n= 3\n{\n"
    )


def test_dumps(tvix: Tvix, tmp_path: Path) -> None:
    assert tvix("eval", "--dump-code", "-E", "x: x").stdout == "function x @0\n  body: argument up=0 @3\n"
    file = tmp_path / "é.nix"
    file.write_text("x: x")
    assert tvix("eval", "--dump-nodes", file).stdout == "Lambda parameter=x @0\n  body: Argument0 @3\n"
    assert "undefined variable" in tvix("eval", "--dump-code", "-E", "x", status=65).stderr
