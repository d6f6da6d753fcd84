"""`:e` in `$EDITOR`."""

from __future__ import annotations

import os

_TAKE_LINES = ("emacs", "nano", "vi", "vim", "nvim", "kak", "mg", "joe", "hx")
"""Editors that take `+LINE` before a file."""


def edit(path: str, line: int) -> None:
    """Open a file, one character a byte, at a line (0 for none), and wait for the editor's end. Raises OSError."""
    import shlex
    import subprocess

    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    if line and os.path.basename(words[0]) in _TAKE_LINES:
        words.append(f"+{line}")
    subprocess.run([*words, path.encode("latin-1")], check=False)
