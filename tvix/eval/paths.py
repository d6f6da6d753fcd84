"""Path values are absolute and in normal form; nothing here looks at a file system."""

from __future__ import annotations


def normal(path: str) -> str:
    """An absolute path without `.`, `..`, doubled or trailing slashes. `..` above the root is the root."""
    if "/." not in path and "//" not in path and (path[-1:] != "/" or path == "/"):
        return path
    kept: list[str] = []
    for name in path.split("/"):
        if name == "..":
            if kept:
                kept.pop()
        elif name and name != ".":
            kept.append(name)
    return "/" + "/".join(kept)
