"""The order in which C++ Nix goes through attributes, where that shows: of several that fail the first is the error."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_FIRST: Final[tuple[str, ...]] = (
    "outPath", "drvPath", "type", "meta", "name", "value", "system", "__overrides", "outputs", "outputName", "__ignoreNulls",
    "file", "line", "column", "__functor", "__toString", "right", "wrong", "__structuredAttrs", "allowedReferences",
    "allowedRequisites", "disallowedReferences", "disallowedRequisites", "maxSize", "maxClosureSize", "builder", "args",
    "__contentAddressed", "__impure", "outputHash", "outputHashAlgo", "outputHashMode", "recurseForDerivations", "description",
    "self", "startSet", "operator", "key", "path", "prefix", "outputSpecified",
)  # fmt: skip
"""C++ Nix goes through attributes in the order in which it met their names, and these it knows from the start."""
_FAMILIAR: Final[frozenset[str]] = frozenset(_FIRST)


def in_order(attributes: dict[str, Any]) -> list[str]:
    """The names of a set. For those that aren't known from the start the set's own order is taken, mostly that of the source."""
    if _FAMILIAR.isdisjoint(attributes):
        return list(attributes)
    names = [name for name in _FIRST if name in attributes]
    return names + [name for name in attributes if name not in _FAMILIAR]
