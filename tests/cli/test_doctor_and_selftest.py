"""What the program says of the machine and of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Tvix


def test_doctor(tvix: Tvix) -> None:
    checks = {check["name"]: check for check in tvix("doctor", "--json").json["checks"]}
    assert set(checks) == {"kernel", "FUSE", "namespaces", "nspawn", "QEMU", "KVM", "network", "store", "engine", "credentials"}
    for check in checks.values():
        assert set(check) == {"name", "state", "found", "means", "remedy"}
        assert check["state"] in ("ok", "limited", "missing")
        assert check["found"]
        assert check["means"]
    text = tvix("doctor").stdout
    for check in checks.values():
        assert check["found"].partition(",")[0] in text  # how much room is left may have changed
        assert check["means"] in text


def test_doctor_sees_what_is_not_there(tvix: Tvix, tmp_path: Path) -> None:
    tvix.environment.update(PATH=str(tmp_path), TVIX_STORE="nonsense")
    checks = {check["name"]: check for check in tvix("doctor", "--json").json["checks"]}
    assert [checks[name]["state"] for name in ("nspawn", "QEMU", "store")] == ["missing"] * 3
    assert "apt-get install qemu-system-x86" in tvix("doctor").stdout


@pytest.mark.root
@pytest.mark.fuse
def test_doctor_tries_namespaces_out(tvix: Tvix) -> None:
    tvix.program = ("unshare", "--user", *tvix.program)  # in there nobody may make another with a mapping
    checks = {check["name"]: check for check in tvix("doctor", "--json").json["checks"]}
    assert checks["namespaces"]["state"] != "ok"


def test_selftest(tvix: Tvix) -> None:
    told = tvix("selftest", "--json").json
    assert (told["absent"], told["failed"], told["frozen"]) == (0, 0, False)
    assert told["passed"] == len(told["checks"]) >= 17
    lines = tvix("selftest").lines
    assert lines[-1] == f"{told['passed']} checks passed, 0 absent from this build, 0 failed"
    assert len(lines) == told["passed"] + 1


def test_selftest_that_fails(tvix: Tvix, tmp_path: Path) -> None:
    (tmp_path / "lmdb.py").write_text("raise ImportError('broken on purpose')\n")
    (tmp_path / "nacl.py").write_text("raise ModuleNotFoundError(\"No module named 'nacl'\", name='nacl')\n")
    tvix.environment["PYTHONPATH"] = f"{tmp_path}:{tvix.command_environment['PYTHONPATH']}"
    finished = tvix("selftest", status=70)
    assert "failed  signatures: there is no module nacl" in finished.lines
    assert "tvix: error: 2 of 17 checks failed: signatures, pack store" in finished.stderr
