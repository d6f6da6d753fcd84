"""Text of others on a terminal: shown, never obeyed."""

from __future__ import annotations

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: " ", 10: "\\n", 13: "\\r"}


def one_line(text: str) -> str:
    """`text` with control characters written out, so that it takes one line and moves no cursor."""
    return text.translate(_CONTROL)
