"""The class of strings with context. It isn't compiled: a compiled class can't extend `str`."""

from __future__ import annotations


class ContextString(str):
    """Characters and their context, which is never empty."""

    __slots__ = ("context",)
    context: frozenset[str]
