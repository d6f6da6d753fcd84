"""Strings with context.

A Nix string is a `str` with one character per byte (source is decoded as Latin-1), so that length, order and hashes are exact. One
whose value depends on store paths is a `ContextString`: the same characters, and what they depend on, each element spelt as C++ Nix
encodes it: `/nix/store/…` a path as it is, `!OUTPUT!/nix/store/….drv` an output of a derivation, `=/nix/store/….drv` a derivation
with everything that it would take to build it.
"""

from __future__ import annotations

from tvix.eval.context_string import ContextString as ContextString  # noqa: PLC0414  # also under this name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from typing import Final


_NONE: Final[frozenset[str]] = frozenset()


def with_context(text: str, context: AbstractSet[str] | None) -> str:
    """`text`, which is a plain `str`, with `context`, unless that is empty."""
    if not context:
        return text
    result = ContextString(text)
    result.context = frozenset(context)
    return result


def context_of(text: str) -> frozenset[str]:
    """What a string depends on."""
    return text.context if type(text) is ContextString else _NONE
