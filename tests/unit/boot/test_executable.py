"""Whether a program could run, before it is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.boot.executable import NoInterpreter, NoSuchProgram, NotExecutable, check


def _program(path: Path, content: bytes, mode: int = 0o755) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_static_dynamic_and_script(tmp_path: Path) -> None:
    check("/usr/bin/busybox")
    check("/usr/bin/env")
    check(_program(tmp_path / "script", b"#! /usr/bin/env sh\n"))


def test_a_loader_outside_the_root_to_come(tmp_path: Path) -> None:
    inside = _program(tmp_path / "true", Path("/bin/true").read_bytes())
    with pytest.raises(NoInterpreter, match="ld-linux"):
        check(inside, f"{tmp_path}/")


def test_a_link_that_leads_out(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/bin/true")
    with pytest.raises(NoSuchProgram):
        check(str(tmp_path / "link"), f"{tmp_path}/")


def test_missing_interpreter(tmp_path: Path) -> None:
    with pytest.raises(NoInterpreter, match="/nowhere/sh"):
        check(_program(tmp_path / "script", b"#!/nowhere/sh\n"))


def test_interpreters_without_end(tmp_path: Path) -> None:
    with pytest.raises(NotExecutable, match="without end"):
        check(_program(tmp_path / "loop", f"#!{tmp_path}/loop\n".encode()))


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"\x7fELF" + bytes(60), 0o755, "64-bit"),
        (b"\x7fELF", 0o755, "64-bit"),
        (b"", 0o755, "neither"),
        (b"#!\n", 0o755, "names nothing"),
        (b"#!/bin/sh\n", 0o644, "not marked executable"),
    ],
)
def test_not_executable(tmp_path: Path, content: bytes, mode: int, reason: str) -> None:
    with pytest.raises(NotExecutable, match=reason):
        check(_program(tmp_path / "it", content, mode))


def test_missing_and_directory(tmp_path: Path) -> None:
    with pytest.raises(NoSuchProgram):
        check(str(tmp_path / "missing"))
    with pytest.raises(OSError, match="too long"):
        check(str(tmp_path / ("n" * 300)))
    with pytest.raises(NotExecutable, match="not a file"):
        check(str(tmp_path))
