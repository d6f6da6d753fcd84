"""What every test runs under: the seed, how long random tests take, and that nothing is skipped where it must run.

`SEED=n` replays a run: Hypothesis and the `seed` fixture both start from it. `make test` uses seed 0, so the same sources give
the same verdict; `make soak` sets `TVIX_SOAK=1`, draws a seed, and runs ten times the examples. With `CI=true` a skipped test
that is marked `root`, `fuse`, `vm` or `nix` is a failed one, since the machine is meant to have all four.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).parent.parent
SOAK = os.environ.get("TVIX_SOAK") == "1"
CI = os.environ.get("CI") == "true"
PRIVILEGED = frozenset({"root", "fuse", "vm", "nix"})

hypothesis.settings.register_profile("tenth", max_examples=50, deadline=None)
hypothesis.settings.register_profile("soak", max_examples=500, deadline=None)
hypothesis.settings.load_profile("soak" if SOAK else "tenth")


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option of ours."""
    parser.addoption("--uncompiled", action="store_true", help="run the evaluator's sources, not what mypyc made of them")


def pytest_configure(config: pytest.Config) -> None:
    """Fix the seed before the workers start: they inherit the environment."""
    if config.getoption("--uncompiled"):
        from tvix.eval import uncompiled

        uncompiled.run_sources()
    os.environ.setdefault("SEED", str(secrets.randbelow(2**32)) if SOAK else "0")
    config.option.hypothesis_seed = os.environ["SEED"]


def pytest_report_header() -> str:
    """How to replay this run."""
    return f"seed: {os.environ['SEED']} ({'soak' if SOAK else 'a tenth of the soak counts'}; SEED=n replays)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark property tests as soak tests, and skip what this machine can't run, saying why."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("soak")
        for name in PRIVILEGED & {mark.name for mark in item.iter_markers()}:
            reason = _missing(name)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def _missing(mark: str) -> str | None:
    """Why a test with this mark can't run here, or None."""
    if mark == "root":
        return None if os.geteuid() == 0 else "needs root"
    if mark == "fuse":
        return None if Path("/dev/fuse").exists() else "needs /dev/fuse"
    if mark == "nix":
        return None if shutil.which("nix-store") else "needs stock Nix (apt-get install nix-bin)"
    return None if shutil.which("qemu-system-x86_64") else "needs QEMU (apt-get install qemu-system-x86)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skip of what needs a privilege is a failure."""
    report = yield
    marks = PRIVILEGED & {mark.name for mark in item.iter_markers()}
    if CI and marks and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where {', '.join(sorted(marks))} must run: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI a module that skips itself is a failure."""
    report = yield
    if CI and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"module skipped in CI: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests fetch is kept where no other run finds it."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def seed() -> int:
    """The seed of this run, for tests that draw their own random input."""
    return int(os.environ["SEED"])


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether to run the long counts."""
    return SOAK


def _built(path: Path, target: str) -> Path:
    if not path.exists():
        pytest.skip(f"{path.relative_to(ROOT)} is not there: make {target}")
    return path


@pytest.fixture(scope="session")
def host_program() -> Path:
    """The frozen `tvix` of hosts, one file."""
    return _built(ROOT / "dist/host/tvix", "freeze")


@pytest.fixture(scope="session")
def minimal_tree() -> Path:
    """The frozen tree of initrd-minimal; its program is `tvix` inside."""
    return _built(ROOT / "dist/initrd-minimal", "freeze")


@pytest.fixture(scope="session")
def builder_tree() -> Path:
    """The frozen tree of initrd-builder; its program is `tvix` inside."""
    return _built(ROOT / "dist/initrd-builder", "freeze")


@pytest.fixture(scope="session")
def kernel() -> Path:
    """Debian 12's cloud kernel: a directory with `vmlinuz` and `modules` (a `lib/modules/VERSION`)."""
    return _built(ROOT / ".cache/kernels/6.1", "image")


@pytest.fixture(scope="session")
def initrd() -> Path:
    """initrd-minimal for Debian 12's cloud kernel."""
    return _built(ROOT / "dist/initrd-minimal.img", "image")


@pytest.fixture(scope="session")
def uml_initrd() -> Path:
    """initrd-minimal for Debian 12's user-mode Linux."""
    return _built(ROOT / "dist/initrd-uml.img", "image")


@pytest.fixture(scope="session")
def tiny_tree() -> Path:
    """The frozen tree of initrd-tiny; its program is `tvix` inside."""
    return _built(ROOT / "dist/initrd-tiny", "freeze")


@pytest.fixture(scope="session")
def tiny_initrd() -> Path:
    """initrd-tiny for Debian 12's cloud kernel."""
    return _built(ROOT / "dist/initrd-tiny.img", "test-images")


@pytest.fixture(scope="session")
def tiny_uml_initrd() -> Path:
    """initrd-tiny for Debian 12's user-mode Linux."""
    return _built(ROOT / "dist/initrd-tiny-uml.img", "test-images")


@pytest.fixture(scope="session")
def hello_closure() -> Path:
    """The example closure: `INFO.json` and `store/HASH-NAME`."""
    return _built(ROOT / ".cache/hello", "hello")
