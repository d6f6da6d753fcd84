"""What PID 1 must not import: each of these costs a machine under emulation up to half a second, and memory for ever."""

from __future__ import annotations

import subprocess
import sys

_FORBIDDEN = """
asyncio collections dataclasses enum functools google grpc inspect json logging re
signal socket ssl subprocess threading traceback trio typing
"""


def _loaded() -> set[str]:
    """The modules of a bare interpreter (no site) that has imported PID 1."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import appliance.boot.init; print(*sorted(sys.modules))"
    root = str(__file__).rpartition("/tests/")[0]
    command = [sys.executable, "-I", "-S", "-c", code, root]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_pid_1_stays_light() -> None:
    loaded = {name.partition(".")[0] for name in _loaded()}
    assert "appliance" in loaded
    assert not loaded & set(_FORBIDDEN.split())


def test_pid_1_has_few_modules() -> None:
    assert len(_loaded()) <= 80
