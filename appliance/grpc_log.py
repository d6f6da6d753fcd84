"""The gRPC library's own log, which it writes to stderr of its own accord."""

from __future__ import annotations

import os


def silence() -> None:
    """Have it say nothing, unless the user asked for it; errors come to us anyway. To be called before the library is loaded.

    It goes by the environment, so this is not for a process that runs programs of the user's afterwards.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
