"""Writes resolv.conf(5)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = "/etc/resolv.conf"
_MOST = 3  # the C library reads no more


def write(resolvers: Sequence[str], domain: str = "", path: str = PATH) -> None:
    """Name the resolvers and the domain to search. Replaces the file whole. Raises OSError."""
    lines = [f"search {domain}\n"] if domain else []
    lines += [f"nameserver {resolver}\n" for resolver in list(dict.fromkeys(resolvers))[:_MOST]]
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.writelines(lines)
    os.replace(temporary, path)
