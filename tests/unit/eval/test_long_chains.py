"""A chain of a million thunks, each of which holds on to the next, is made, forced and freed.

Compiled, they have no header of the garbage collector, and freeing one frees the next inside of it: see
packaging/mypyc_deallocation.h for what would go wrong. Each runs in a process of its own, which it would take down.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
RUN = """
import sys
if {uncompiled}:
    from tvix.eval import uncompiled
    uncompiled.run_sources()
from tvix.eval.evaluator import Evaluator, Settings
from tvix.eval.io import NoIO
from tvix.eval.stack import on_deep_stack

def work():
    settings = Settings()
    settings.max_call_depth = 1 << 40
    evaluator = Evaluator(NoIO(), settings)
    with evaluator.session():
        return {statements}

print(on_deep_stack(work))
"""


def run(request: pytest.FixtureRequest, statements: str) -> str:
    program = RUN.format(uncompiled=request.config.getoption("--uncompiled"), statements=statements)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def length(request: pytest.FixtureRequest) -> int:
    """Uncompiled, objects have their header, and what is long is only slow."""
    return 100_000 if request.config.getoption("--uncompiled") else 1_000_000


def test_a_chain_that_was_never_forced_is_freed(request: pytest.FixtureRequest) -> None:
    count = length(request)
    chain = f"builtins.foldl' (rest: n: {{ inherit n; tail = rest; }}) null (builtins.genList (n: n) {count})"
    assert run(request, f'evaluator.string("({chain}).n", "/")') == str(count - 1)


def test_a_chain_of_thunks_is_freed(request: pytest.FixtureRequest) -> None:
    count = length(request)
    step = "rest: n: let x = { inherit rest n; }; in x // { f = _: rest; }"
    chain = f"builtins.foldl' ({step}) null (builtins.genList (n: n) {count})"
    assert run(request, f'evaluator.string("({chain}).n", "/")') == str(count - 1)


def test_a_chain_of_scopes_is_freed(request: pytest.FixtureRequest) -> None:
    count = length(request)
    chain = f"builtins.foldl' (rest: n: (y: z: if z == null then n else rest y)) (x: x) (builtins.genList (n: n) {count})"
    assert run(request, f'evaluator.string("({chain}) 1 null", "/")') == str(count - 1)
