"""Importing grpc, whole or light.

`import grpc` pulls in asyncio for its second, asynchronous interface: half of its instructions, and modules that an initrd leaves
out. Imported light, the process has empty stand-ins for asyncio while grpc is being imported, and grpc.aio doesn't work
afterwards.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

Foreign = Any
"""Whatever grpc hands out: it comes without types."""


class _StandIn(ModuleType):
    """A module in which every name is an exception class: grpc subclasses some and catches others."""

    def __getattr__(self, name: str) -> type[Exception]:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


def import_grpc(*, light: bool = False) -> Foreign:
    """The grpc module. `light` has an effect on the first import in a process only, and none where asyncio is there already.

    Where asyncio can't be imported at all, as in the trees of initrds, every import is a light one.
    """
    if "grpc" in sys.modules or "asyncio" in sys.modules or not (light or _lacks_asyncio()):
        import grpc

        return grpc
    stood_in = [name for name in ("asyncio", "asyncio.events", "grpc.aio") if name not in sys.modules]
    for name in stood_in:
        module = sys.modules[name] = _StandIn(name)
        module.__path__ = []
    try:
        import grpc
    finally:
        for name in stood_in:
            if name != "grpc.aio":  # whoever needs asyncio later gets the real one
                del sys.modules[name]
    return grpc


def _lacks_asyncio() -> bool:
    try:
        import asyncio  # noqa: F401
    except ModuleNotFoundError:
        return True
    return False
