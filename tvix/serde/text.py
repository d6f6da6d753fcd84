"""Between strings of Python and those of the language, which have one character per byte."""

from __future__ import annotations


def from_nix(text: str) -> str:
    """Raises `UnicodeDecodeError` where the bytes aren't UTF-8. The context of a string is lost."""
    return str(text) if text.isascii() else text.encode("latin-1").decode()


def shown(text: str) -> str:
    """For messages: what isn't UTF-8 is replaced."""
    return text.encode("latin-1").decode(errors="replace")


def to_nix(text: str) -> str:
    """Raises `UnicodeEncodeError` for half of a surrogate pair."""
    return text if text.isascii() else text.encode().decode("latin-1")
