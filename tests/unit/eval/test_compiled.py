"""The evaluator that tests run is the compiled one, and its sources run uncompiled as well.

Whatever runs in a process is one or the other, so the uncompiled run is a process of its own: `pytest --uncompiled` has every test
of the evaluator use the sources (tests/conftest.py). Here it runs the programs of tests/lang and the tests beside this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from runpy import run_path

import pytest

from tvix.eval import uncompiled

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "tvix/eval"


def compiled_names() -> list[str]:
    sources: list[str] = run_path(str(ROOT / "setup.py"))["sources"]()
    return [f"tvix.eval.{source.removesuffix('.py').replace('/', '.')}" for source in sources]


def test_what_evaluates_is_among_them() -> None:
    assert {"tvix.eval.values", "tvix.eval.nodes.calls", "tvix.eval.builtins.lists", "tvix.eval.scanner"} <= set(compiled_names())


@pytest.fixture
def needs_compiled(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--uncompiled"):
        pytest.skip("--uncompiled")
    if not (PACKAGE / uncompiled.RECORD).exists() and os.environ.get("CI") != "true":
        pytest.skip("the evaluator isn't compiled: make dev")


@pytest.mark.usefixtures("needs_compiled")
@pytest.mark.parametrize("name", compiled_names())
def test_modules_are_shared_objects(name: str) -> None:
    assert str(import_module(name).__file__).endswith(".so")


@pytest.mark.usefixtures("needs_compiled")
def test_the_sources_run_as_they_are() -> None:
    tests = ["tests/lang/test_programs.py", "tests/unit/eval"]
    command = [sys.executable, "-m", "pytest", "-q", "--uncompiled", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]


def _in_a_copy(tmp_path: Path, statement: str) -> str:
    """What a statement prints, run with the compiled modules and sources of a package that has nothing else."""
    done = subprocess.run([sys.executable, "-c", statement], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


WHICH = "from tvix.eval import uncompiled, sample; print(sample.__file__.rpartition('/')[2], sample.VALUE)"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A package with one module, the old compiled form of which says another thing: it is bytecode here, which Python's own finder
    would never check either.
    """
    package = tmp_path / "tvix/eval"
    package.mkdir(parents=True)
    (tmp_path / "tvix/__init__.py").touch()
    for name in ("__init__.py", "uncompiled.py"):
        (package / name).write_bytes((PACKAGE / name).read_bytes())
    (package / "sample.py").write_text("VALUE = 1\n")
    _record(package)
    return tmp_path


def _record(package: Path) -> None:
    line = uncompiled.describe_source(str(package / "sample.py"), "sample.py")
    (package / uncompiled.RECORD).write_text(f"{line}\n")


def uses_sources(checkout: Path) -> bool:
    return _in_a_copy(checkout, "import sys, tvix.eval; print(tvix.eval.uncompiled.Sources in sys.meta_path)") == "True"


def test_what_was_compiled_is_used(checkout: Path) -> None:
    assert not uses_sources(checkout)
    assert _in_a_copy(checkout, WHICH) == "sample.py 1"


def test_a_changed_source_is_run_itself(checkout: Path) -> None:
    (checkout / "tvix/eval/sample.py").write_text("VALUE = 2\n")
    assert uses_sources(checkout)
    assert _in_a_copy(checkout, WHICH) == "sample.py 2"


def test_a_new_time_alone_changes_nothing(checkout: Path) -> None:
    os.utime(checkout / "tvix/eval/sample.py", ns=(1, 1))
    assert not uses_sources(checkout)


def test_a_source_that_is_gone_counts_as_changed(checkout: Path) -> None:
    (checkout / "tvix/eval/sample.py").unlink()
    assert uses_sources(checkout)


def test_an_interrupted_build_is_not_used(checkout: Path) -> None:
    (checkout / "tvix/eval" / uncompiled.RECORD).write_text("")
    assert uses_sources(checkout)


def test_without_a_record_nothing_is_compared(checkout: Path) -> None:
    (checkout / "tvix/eval" / uncompiled.RECORD).unlink()
    (checkout / "tvix/eval/sample.py").write_text("VALUE = 3\n")
    assert not uses_sources(checkout)
