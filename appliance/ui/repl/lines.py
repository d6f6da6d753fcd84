"""How texts come in where stdin isn't a terminal: line by line, without a prompt."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class PlainLines:
    """Reads stdin."""

    def next(self, is_incomplete: Callable[[str], bool]) -> str | None:
        """The next text, one character a byte: as many lines as it takes. None at the end."""
        text = ""
        while True:
            line = sys.stdin.buffer.readline().decode("latin-1")
            if not line:
                return text or None
            text += line
            if not text.strip() or not is_incomplete(text):
                return text
