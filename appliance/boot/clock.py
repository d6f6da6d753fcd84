"""A clock that is never before the image's build date: machines without a battery begin in 1970, when no certificate is valid."""

from __future__ import annotations

import time

from initrd import layout


def set_not_before_build(path: str = f"/{layout.BUILD_DATE}") -> bool:
    """Move the clock forward to the build date if it is before it. Says whether it did. Raises OSError, ValueError."""
    with open(path, encoding="utf-8") as stream:
        built = int(stream.read())
    if time.time() >= built:
        return False
    time.clock_settime(time.CLOCK_REALTIME, built)
    return True
