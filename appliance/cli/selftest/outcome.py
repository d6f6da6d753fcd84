"""Running one check and judging how it ended."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, NamedTuple

from appliance.cli.failure import NotInThisBuild

if TYPE_CHECKING:
    from collections.abc import Callable

ABSENT_BY_DESIGN = (
    "appliance.cli.image",
    "appliance.ui",
    "elftools",
    "google",
    "grpc_health",
    "grpc_reflection",
    "initrd",
    "lmdb",
    "nacl",
    "rich",
    "ssl",
    "tvix.grpc_api",
    "tvix.proto",
    "zstandard",
)
"""What a frozen tree for an initrd may lack. A host build and a checkout lack nothing."""


class Outcome(NamedTuple):
    """How a check ended. `detail` is why it is absent or failed."""

    name: str
    state: Literal["passed", "absent", "failed"]
    detail: str = ""


def examine(check: Callable[[], None]) -> Outcome:
    """Run `check`; it is named after its function, and passes unless it raises."""
    name = check.__name__.replace("_", " ")
    try:
        check()
    except NotInThisBuild as error:
        return Outcome(name, "absent" if is_initrd_build() else "failed", str(error))
    except Exception as error:
        missing = _missing_module(error)
        by_design = any(f"{missing}.".startswith(f"{module}.") for module in ABSENT_BY_DESIGN)
        if by_design and is_initrd_build():
            return Outcome(name, "absent", f"this build has no {missing}")
        if os.environ.get("TVIX_DEBUG") == "1":
            sys.excepthook(type(error), error, error.__traceback__)
        return Outcome(name, "failed", f"there is no module {missing}" if missing else f"{type(error).__name__}: {error}")
    return Outcome(name, "passed")


def _missing_module(error: BaseException) -> str:
    """The module whose absence is behind an error, or nothing."""
    cause = error if isinstance(error, ModuleNotFoundError) else error.__cause__
    return (cause.name or "") if isinstance(cause, ModuleNotFoundError) else ""


def is_initrd_build() -> bool:
    """A frozen tree without a terminal's renderers."""
    return bool(getattr(sys, "frozen", False)) and find_spec("appliance.ui") is None
